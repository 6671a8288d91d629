// checksum-database reads a log as Go's client of its checksum database does, with that client's own parts: golang.org/x/mod/sumdb/note
// for the signature, golang.org/x/mod/sumdb/tlog for tiles and proofs. It remembers the newest tree that it saw, refuses one that
// does not begin with it, believes no tile that the signed tree does not vouch for, and looks every record up.
//
//	checksum-database URL VKEY STATE
//
// The log is one of C2SP's tlog-tiles: the paths have no height, records stand in bundles with their lengths, and the signed text
// begins with the log's name. All else is the checksum database's.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	// The longest answer that is read.
	longest = 64 << 20
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: checksum-database URL VKEY STATE")
		os.Exit(2)
	}
	said, err := follow(log{base: strings.TrimSuffix(os.Args[1], "/")}, os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, "SECURITY ERROR:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

// A log at an address, http or file.
type log struct{ base string }

func (l log) read(path string) ([]byte, error) {
	address := l.base + "/" + path
	if file, ok := strings.CutPrefix(address, "file://"); ok {
		return os.ReadFile(filepath.FromSlash(file))
	}
	client := http.Client{Timeout: 30 * time.Second}
	answer, err := client.Get(address)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, longest))
}

// The path of a tile, without the height that the checksum database names.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tile.H), "tile/", 1)
}

// tiles is what tlog asks for tiles. What the signed tree vouched for is kept.
type tiles struct {
	log  log
	kept map[tlog.Tile][]byte
}

func (t tiles) Height() int { return height }

func (t tiles) ReadTiles(asked []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(asked))
	for at, tile := range asked {
		if kept, ok := t.kept[tile]; ok {
			data[at] = kept
			continue
		}
		bytes, err := t.log.read(path(tile))
		if err != nil && tile.W < 1<<height {
			// A log may have thrown the partial tile away: the full one begins with the same hashes.
			full := tile
			full.W = 1 << height
			bytes, err = t.log.read(path(full))
			if err == nil && len(bytes) >= tile.W*tlog.HashSize {
				bytes = bytes[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		data[at] = bytes
	}
	return data, nil
}

func (t tiles) SaveTiles(good []tlog.Tile, data [][]byte) {
	for at, tile := range good {
		t.kept[tile] = data[at]
	}
}

// opened is the tree that a signed note names.
func opened(message []byte, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(message, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("the note is not of the log %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, fmt.Errorf("%q is no size", lines[1])
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("%q is no root", lines[2])
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, nil
}

func follow(l log, vkey, state string) (string, error) {
	message, err := l.read("checkpoint")
	if err != nil {
		return "", err
	}
	tree, err := opened(message, vkey)
	if err != nil {
		return "", err
	}
	hashes := tlog.TileHashReader(tree, tiles{log: l, kept: map[tlog.Tile][]byte{}})
	seen := "nothing"
	switch before, err := os.ReadFile(state); {
	case err == nil:
		old, err := opened(before, vkey)
		if err != nil {
			return "", fmt.Errorf("what was kept: %w", err)
		}
		if err := begins(old, tree, hashes); err != nil {
			return "", err
		}
		seen = fmt.Sprintf("size %d", old.N)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if err := records(l, tree, hashes); err != nil {
		return "", err
	}
	if err := os.WriteFile(state, message, 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("size %d follows %s, all records are in it", tree.N, seen), nil
}

// begins: does the newer tree begin with the older? Asked twice: as the client of the checksum database does, and by a proof.
func begins(old, tree tlog.Tree, hashes tlog.HashReader) error {
	if old.N > tree.N {
		return fmt.Errorf("the log has shrunk from size %d to %d", old.N, tree.N)
	}
	if old.N == 0 {
		return nil
	}
	root, err := tlog.TreeHash(old.N, hashes)
	if err != nil {
		return err
	}
	if root != old.Hash {
		return fmt.Errorf("the log shows another history below size %d: %v, and was %v", old.N, root, old.Hash)
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

// records looks up every record: its hash where the tree has it, and its proof.
func records(l log, tree tlog.Tree, hashes tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 1 << height {
		width := min(tree.N-first, 1<<height)
		tile := tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)}
		bundle, err := l.read(strings.Replace(path(tile), "data", "entries", 1))
		if err != nil {
			return err
		}
		for id := first; id < first+width; id++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("record %d is cut off", id)
			}
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			record := tlog.RecordHash(bundle[2:length])
			bundle = bundle[length:]
			found, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, id)})
			if err != nil {
				return err
			}
			if found[0] != record {
				return fmt.Errorf("record %d is not the one in the tree", id)
			}
			proof, err := tlog.ProveRecord(tree.N, id, hashes)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, id, record); err != nil {
				return fmt.Errorf("record %d: %w", id, err)
			}
		}
		if len(bundle) != 0 {
			return fmt.Errorf("bundle %d has more than its records", tile.N)
		}
	}
	return nil
}
