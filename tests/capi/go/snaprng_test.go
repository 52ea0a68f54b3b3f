package snaprng

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func TestGoroutinesShareNoBlock(t *testing.T) {
	const goroutines, each = 64, 500
	blocks := make([][16]byte, goroutines*each)
	var all sync.WaitGroup
	for g := 0; g < goroutines; g++ {
		all.Add(1)
		go func(mine [][16]byte) {
			defer all.Done()
			for i := range mine {
				if _, err := io.ReadFull(Reader, mine[i][:]); err != nil {
					t.Error(err)
				}
			}
		}(blocks[g*each : (g+1)*each])
	}
	all.Wait()
	seen := map[[16]byte]bool{}
	for _, block := range blocks {
		if seen[block] {
			t.Fatal("a block came twice")
		}
		seen[block] = true
	}
}

func TestCryptographyTakesTheReader(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), Reader)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := ecdsa.SignASN1(Reader, key, make([]byte, 32))
	if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, make([]byte, 32), signature) {
		t.Fatal("the signature is not valid", err)
	}
}

func TestMathRandTakesTheSource(t *testing.T) {
	rng := rand.New(Source{})
	rng.Seed(1)
	counts := [6]int{}
	for i := 0; i < 60000; i++ {
		counts[rng.Intn(6)]++
	}
	for face, count := range counts {
		// A standard deviation is 91.
		if count < 9000 || count > 11000 {
			t.Fatalf("%d came %d times", face, count)
		}
	}
	if n, err := Reader.Read(nil); n != 0 || err != nil {
		t.Fatal("nothing is always there")
	}
}

func TestAGenerationEndsWithARestore(t *testing.T) {
	before, err := Now()
	if err != nil || !before.IsCurrent() {
		t.Fatal("not current", err)
	}
	if err := NotifyRestored([]byte("unique")); err != nil {
		t.Fatal(err)
	}
	if before.IsCurrent() {
		t.Fatal("still current")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	if os.Getenv("SNAPRNG_POLICY") == "nonsense" {
		_, err := Reader.Read(make([]byte, 1))
		t.Fatal(err)
	}
	again := exec.Command(os.Args[0], "-test.run=TestErrorsSayWhatToDo")
	again.Env = append(os.Environ(), "SNAPRNG_POLICY=nonsense")
	said, err := again.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "must be prefer or require") {
		t.Fatalf("%v: %s", err, said)
	}
}
