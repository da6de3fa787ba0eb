package bench

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/slashing"
)

// Both holders sign, and the one that is measured has all of it on its disk.
func TestRecordCost(t *testing.T) {
	dir := t.TempDir()
	f, err := recordCost(&Cluster{Network: mainnet(t), Nodes: make([]Node, 4), T: 3}, dir, 8, 600*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if f.Measured <= 0 || f.Limit <= 0 || f.Ratio <= 0 || f.Concurrency != 8 || f.CPU <= 0 || f.LimitCPU <= 0 {
		t.Errorf("%+v", f)
	}
	r, err := slashing.Open(slashing.Config{Dir: filepath.Join(dir, "holder-0"), Owner: durable.Identity{Domain: "bench"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, k := range r.Keys() {
		if s, _ := r.Status(k); !s.Vote.Known || s.Vote.Source+1 != s.Vote.Target {
			t.Errorf("key %x: %+v", k[:4], s.Watermarks)
		}
	}
	if len(r.Keys()) != 8 {
		t.Errorf("%d keys", len(r.Keys()))
	}
}
