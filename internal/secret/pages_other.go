//go:build !linux

package secret

import "errors"

// mapPages has only the Go heap here, which cannot be locked.
func mapPages(size int) (mem []byte, locked bool) { return make([]byte, size), false }

func unmapPages([]byte) {}

// Harden is for production, and production runs on Linux.
func Harden() error { return errors.New("harden process: only Linux is supported") }
