package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/durable/durabletest"
)

// Each operation of WriteFile × each fault × each crash: the file holds the
// old content or the new, and the new once WriteFile has returned nil.
func TestWriteFileFaultTable(t *testing.T) {
	before, after := []byte("old content"), bytes.Repeat([]byte("new"), 1000)
	prepare := func() *durabletest.Disk {
		d := durabletest.NewDisk()
		d.SetContent("dir/share", before)
		return d
	}
	d := prepare()
	if err := durable.WriteFile(d, "dir/share", after, 0o600); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	total := d.Ops()
	if total < 5 {
		t.Fatalf("only %d operations: an atomic write needs create, write, sync, rename, sync of the directory", total)
	}
	for n := 1; n <= total+1; n++ {
		for _, fault := range durabletest.Faults {
			for _, loss := range durabletest.Losses {
				name := fmt.Sprintf("%s at %d, %s", fault, n, loss)
				d := prepare()
				d.Inject(n, fault)
				err := durable.WriteFile(d, "dir/share", after, 0o600)
				if (err == nil) != (n > total) && fault != durabletest.FailPersisted {
					t.Fatalf("%s: %v", name, err)
				}
				d = d.Crash(loss, rng)
				got, _ := d.Content("dir/share")
				if !bytes.Equal(got, after) && (err == nil || !bytes.Equal(got, before)) {
					t.Fatalf("%s: WriteFile said %v, the file holds %.20q", name, err, got)
				}
				if err := durable.Clean(d, "dir"); err != nil {
					t.Fatal(err)
				}
				if left := d.Crash(durabletest.LoseUnsynced, rng).Paths(); len(left) != 1 {
					t.Fatalf("%s: Clean left %v", name, left)
				}
			}
		}
	}
}

// The disk must catch writers that skip a sync, else the tables prove nothing.
func TestDiskCatchesMissingSync(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	d := durabletest.NewDisk()
	d.SetContent("dir/a", []byte("old"))
	f, _ := d.Open("dir/b", os.O_CREATE|os.O_RDWR, 0o600)
	f.WriteAt([]byte("new"), 0)
	d.Rename("dir/b", "dir/a")
	d.SyncDir("dir")
	if got, _ := d.Crash(durabletest.LoseUnsynced, rng).Content("dir/a"); string(got) == "new" {
		t.Fatal("content survived without a sync")
	}
	d = durabletest.NewDisk()
	f, _ = d.Open("dir/b", os.O_CREATE|os.O_RDWR, 0o600)
	f.WriteAt([]byte("new"), 0)
	f.Sync()
	if _, ok := d.Crash(durabletest.LoseUnsynced, rng).Content("dir/b"); ok {
		t.Fatal("a name survived without a sync of its directory")
	}
}

func TestOSFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"one", "", "three"} {
		if err := durable.WriteOSFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := durable.ReadFile(durable.OS{}, path, 5)
		if err != nil || string(got) != content {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	if _, err := durable.ReadFile(durable.OS{}, path, 4); err == nil {
		t.Fatal("read past its limit")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	names, err := durable.OS{}.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("left behind %v, %v", names, err)
	}
	for range 2 {
		if err := durable.Remove(durable.OS{}, path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := durable.ReadFile(durable.OS{}, path, 5); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("read a removed file: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := durable.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.Lock(dir)
	if !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Fatalf("second lock: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := durable.Lock(dir)
	if err != nil {
		t.Fatalf("lock after close: %v", err)
	}
	again.Close()
}
