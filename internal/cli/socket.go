package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/internal/durable"
)

// maxSocket is how long the path of a unix socket may be (sun_path, less the
// final zero).
const maxSocket = 107

// socketPath returns a name of path that fits into a socket's address: as it
// is, or from the working directory where that is shorter.
func socketPath(path string) (string, error) {
	if len(path) <= maxSocket {
		return path, nil
	}
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, path); err == nil && len(rel) <= maxSocket {
			return rel, nil
		}
	}
	return "", fail(exitBadUse, "choose a directory with a shorter path", "socket %s: the path is over %d bytes long", path, maxSocket)
}

// findCustody returns the quorate-custody binary that stands beside this one
// or in PATH.
func findCustody() (string, bool) {
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), custodyName); executable(beside) {
			return beside, true
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, custodyName); filepath.IsAbs(path) && executable(path) {
			return path, true
		}
	}
	return "", false
}

const custodyName = "quorate-custody"

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func errNoCustody() error {
	return fail(exitFailed, "put it beside quorate, into PATH, or name it with --custody-binary", "no %s beside this program or in PATH", custodyName)
}

// writeNew writes a file that must not exist yet.
func writeNew(path string, data []byte, perm os.FileMode) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("write %s: %w", path, os.ErrExist)
	}
	return durable.WriteOSFile(path, data, perm)
}
