package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/ledger"
)

// ErrNoTile: the log is too short for the tile, or no path names it.
var ErrNoTile = errors.New("no such tile")

const tileWidth = 1 << ledger.TileHeight

// maxTileLevel is the highest level at which a log can have a hash: it holds
// fewer than 2^64 entries.
const maxTileLevel = 63 / ledger.TileHeight

// Tile returns what stands at a C2SP tlog-tiles path without its prefix
// "tile/", such as "0/x001/234", "1/000.p/7" or "entries/000.p/3", in a log of
// so many entries.
func Tile(log Log, size uint64, path string) ([]byte, error) {
	level, index, width, err := parseTilePath(path)
	if err != nil {
		return nil, err
	}
	bits := ledger.TileHeight * uint(max(level, 0))
	have := size >> bits // hashes of that level
	if index > have/tileWidth || index*tileWidth+uint64(width) > have {
		return nil, fmt.Errorf("%w: %s of a log of %d entries", ErrNoTile, path, size)
	}
	var out []byte
	for i := index * tileWidth; i < index*tileWidth+uint64(width); i++ {
		if level >= 0 {
			h, err := hash(log, bits, i)
			if err != nil {
				return nil, err
			}
			out = append(out, h...)
			continue
		}
		leaf, ok := log.Leaf(i)
		if !ok {
			return nil, fmt.Errorf("read audit log: no leaf %d", i)
		}
		out = append(append(out, 0, byte(len(leaf))), leaf[:]...)
	}
	return out, nil
}

// parseTilePath reads a path in the one form it can have; level -1 is entries.
func parseTilePath(path string) (level int, index uint64, width int, err error) {
	bad := fmt.Errorf("%w: %q", ErrNoTile, path)
	first, rest, _ := strings.Cut(path, "/")
	if level = -1; first != "entries" {
		if level, err = strconv.Atoi(first); err != nil || level < 0 || level > maxTileLevel || strconv.Itoa(level) != first {
			return 0, 0, 0, bad
		}
	}
	width = tileWidth
	if number, partial, ok := strings.Cut(rest, ".p/"); ok {
		if width, err = strconv.Atoi(partial); err != nil || width < 1 || width >= tileWidth || strconv.Itoa(width) != partial {
			return 0, 0, 0, bad
		}
		rest = number
	}
	parts := strings.Split(rest, "/")
	for i, p := range parts {
		inner := i < len(parts)-1
		digits, marked := strings.CutPrefix(p, "x")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || len(digits) != 3 || marked != inner || index > (1<<56)/1000 || inner && i == 0 && n == 0 {
			return 0, 0, 0, bad
		}
		index = index*1000 + n
	}
	return level, index, width, nil
}
