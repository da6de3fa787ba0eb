// Package spec_test runs the models that stand beside the formats.
package spec_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Spin explores every state of quorum.pml. What is claimed to be unsafe must
// be found unsafe.
func TestQuorumWithSpin(t *testing.T) {
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("QUORATE_CHECK") == "1" {
				t.Fatalf("install the Debian package %s: %v", tool, err)
			}
			t.Skipf("no %s here (Debian package %s)", tool, tool)
		}
	}
	model, err := filepath.Abs("quorum.pml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n, t, byzantine, rollbacks int
		flaw                       string
	}{
		{4, 3, 1, 0, ""},
		{4, 3, 0, 1, ""},
		{7, 5, 2, 0, ""},
		{3, 2, 0, 0, ""},
		{3, 2, 0, 1, ""},
		{4, 2, 0, 0, ""},
		{4, 3, 1, 1, ""},
		{4, 3, 0, 2, ""},
		{4, 3, 1, 0, "RELEASE_FIRST"},
	} {
		unsafe := 2*c.t-c.n <= c.byzantine+c.rollbacks || c.flaw != ""
		t.Run(fmt.Sprintf("n=%d,t=%d,b=%d,r=%d,%s", c.n, c.t, c.byzantine, c.rollbacks, c.flaw), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run := func(name string, args ...string) string {
				t.Helper()
				cmd := exec.Command(name, args...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", name, err, out)
				}
				return string(out)
			}
			defines := []string{"-a", fmt.Sprintf("-DN=%d", c.n), fmt.Sprintf("-DT=%d", c.t), fmt.Sprintf("-DB=%d", c.byzantine), fmt.Sprintf("-DR=%d", c.rollbacks)}
			if c.flaw != "" {
				defines = append(defines, "-D"+c.flaw)
			}
			run("spin", append(defines, model)...)
			run("gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c")
			out := run("./pan", "-m1000000")
			found := strings.Contains(out, "assertion violated")
			if found != unsafe || strings.Contains(out, "max search depth too small") || !unsafe && !strings.Contains(out, "errors: 0") {
				t.Errorf("unsafe: %v, want %v\n%s", found, unsafe, out)
			}
			t.Log(regexp.MustCompile(`\d+ states, stored`).FindString(out))
		})
	}
}
