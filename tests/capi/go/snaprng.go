// Package snaprng is an example of the C ABI from Go: an io.Reader for crypto, and a source for math/rand.
package snaprng

/*
#cgo pkg-config: snaprng
#include <snaprng.h>
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// Reader gives random bytes that no clone shares; use it where crypto/rand.Reader would be.
var Reader reader

type reader struct{}

func failed(code C.int) error {
	return errors.New("snaprng: " + C.GoString(C.snaprng_strerror(code)))
}

func (reader) Read(out []byte) (int, error) {
	if len(out) == 0 {
		return 0, nil
	}
	if code := C.snaprng_fill(unsafe.Pointer(&out[0]), C.size_t(len(out))); code != C.SNAPRNG_OK {
		return 0, failed(code)
	}
	return len(out), nil
}

// Source is a rand.Source64 of math/rand. It has no seed.
type Source struct{}

// Uint64 panics if there is no entropy.
func (Source) Uint64() uint64 {
	var word [8]byte
	if _, err := Reader.Read(word[:]); err != nil {
		panic(err)
	}
	return binary.LittleEndian.Uint64(word[:])
}

// Int63 is for rand.Source.
func (s Source) Int63() int64 { return int64(s.Uint64() >> 1) }

// Seed does nothing.
func (Source) Seed(int64) {}

// Generation is this copy of the machine and the process: take it before, ask it after.
type Generation struct{ token C.snaprng_generation_t }

// Now takes the generation that this process is in.
func Now() (Generation, error) {
	var g Generation
	if code := C.snaprng_generation(&g.token); code != C.SNAPRNG_OK {
		return g, failed(code)
	}
	return g, nil
}

// IsCurrent tells whether this is still the copy that the generation was taken in.
func (g *Generation) IsCurrent() bool { return C.snaprng_generation_is_current(&g.token) == 1 }

// NotifyRestored reports a restore that the machine shows in no other way.
func NotifyRestored(unique []byte) error {
	var from unsafe.Pointer
	if len(unique) > 0 {
		from = unsafe.Pointer(&unique[0])
	}
	if code := C.snaprng_notify_restored(from, C.size_t(len(unique))); code != C.SNAPRNG_OK {
		return failed(code)
	}
	return nil
}
