// Checks a ledger, and a proof from it, with Go's own transparency-log library and nothing of ours.
//
//	go run check.go tree FOLDER       the checkpoint's signature, its root from the tiles, every entry of every bundle
//	                                  against its leaf, and that every size's tree is the start of this one
//	go run check.go proof VKEY PROOF ENTRY
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/ioutil"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func read(path string) []byte {
	data, err := ioutil.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	return data
}

// The checkpoint that key signed: origin, size, root. x/mod reads trees of its own origin only, so the lines are read here.
func open(vkey string, data []byte) (int64, tlog.Hash) {
	verifier, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		fail("vkey: %v", err)
	}
	n, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		fail("checkpoint: %v", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		fail("checkpoint: %q", n.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fail("checkpoint: %v", err)
	}
	return size, hash(lines[2])
}

func hash(text string) tlog.Hash {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != tlog.HashSize {
		fail("no hash: %q", text)
	}
	var h tlog.Hash
	copy(h[:], raw)
	return h
}

// C2SP spells paths without the height that x/mod puts in front: tile/8/0/001 is tile/0/001 there, tile/8/data/001
// tile/entries/001.
func path(t tlog.Tile) string {
	p := strings.TrimPrefix(t.Path(), "tile/8/")
	if strings.HasPrefix(p, "data/") {
		return "tile/entries/" + strings.TrimPrefix(p, "data/")
	}
	return "tile/" + p
}

type folder string

func (f folder) Height() int { return 8 }
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		data, err := ioutil.ReadFile(filepath.Join(string(f), path(t)))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func tree(dir string) {
	size, root := open(string(read(filepath.Join(dir, "vkey"))), read(filepath.Join(dir, "checkpoint")))
	// Every tile that is read is checked against the root on the way.
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, folder(dir))
	for n := int64(0); n < size; n += 256 {
		width := size - n
		if width > 256 {
			width = 256
		}
		bundle := read(filepath.Join(dir, path(tlog.Tile{H: 8, L: -1, N: n / 256, W: int(width)})))
		var indexes []int64
		for i := int64(0); i < width; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, n+i))
		}
		leaves, err := reader.ReadHashes(indexes)
		if err != nil {
			fail("tiles: %v", err)
		}
		for i := int64(0); i < width; i++ {
			length := int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:2+length]) != leaves[i] {
				fail("entry %d is not its leaf", n+i)
			}
			bundle = bundle[2+length:]
		}
		if len(bundle) != 0 {
			fail("bundle %d is too long", n/256)
		}
	}
	for n := int64(1); n <= size; n += 1 + size/50 {
		old, err := tlog.TreeHash(n, reader)
		if err != nil {
			fail("tree of %d: %v", n, err)
		}
		p, err := tlog.ProveTree(size, n, reader)
		if err != nil {
			fail("proof of %d: %v", n, err)
		}
		if err := tlog.CheckTree(p, size, root, n, old); err != nil {
			fail("tree of %d: %v", n, err)
		}
	}
	fmt.Printf("ok %d\n", size)
}

func proof(vkey, file, entry string) {
	parts := bytes.SplitN(read(file), []byte("\n\n"), 2)
	lines := strings.Split(string(parts[0]), "\n")
	if len(parts) != 2 || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		fail("proof: %q", lines)
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		fail("index: %v", err)
	}
	var p tlog.RecordProof
	for _, line := range lines[2:] {
		p = append(p, hash(line))
	}
	size, root := open(string(read(vkey)), parts[1])
	if err := tlog.CheckRecord(p, size, root, index, tlog.RecordHash(read(entry))); err != nil {
		fail("%v", err)
	}
	fmt.Printf("ok %d of %d\n", index, size)
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "tree":
		tree(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "proof":
		proof(os.Args[2], os.Args[3], os.Args[4])
	default:
		fail("usage: check tree FOLDER | check proof VKEY PROOF ENTRY")
	}
}
