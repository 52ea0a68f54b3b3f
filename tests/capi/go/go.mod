module snaprng.example/go

go 1.19
