package store

import (
	"context"
	"io"
)

// pieceSize bounds one stored piece of a raw message, in bytes: a row stays
// small whatever the message, and a reader holds one piece at a time.
const pieceSize = 256 << 10

// pieces is where raw messages of one sort are kept.
type pieces struct{ insert, read, size string }

var (
	messagePieces = pieces{
		insert: "INSERT INTO message_pieces (message_id, number, bytes) VALUES ($1, $2, $3)",
		read:   "SELECT bytes FROM message_pieces WHERE message_id = $1 AND number = $2",
		size:   "SELECT size FROM messages WHERE id = $1",
	}
	submissionPieces = pieces{
		insert: "INSERT INTO submission_pieces (submission_id, number, bytes) VALUES ($1, $2, $3)",
		read:   "SELECT bytes FROM submission_pieces WHERE submission_id = $1 AND number = $2",
		size:   "SELECT size FROM submissions WHERE id = $1",
	}
)

func (t *tx) putPieces(p pieces, id string, raw []byte) error {
	for number := 0; len(raw) > 0; number++ {
		piece := raw[:min(pieceSize, len(raw))]
		raw = raw[len(piece):]
		if _, err := t.exec(p.insert, id, number, piece); err != nil {
			return err
		}
	}
	return nil
}

// openPieces reads a raw message piece by piece, without holding a transaction
// open; missing is the fault for one that is not there, or no longer.
func (s *Store) openPieces(ctx context.Context, p pieces, id string, missing func() error) (io.ReadCloser, error) {
	r := &pieceReader{s: s, ctx: ctx, pieces: p, id: id, missing: missing}
	err := s.read.QueryRowContext(ctx, p.size, id).Scan(&r.left)
	if absent(err) {
		return nil, missing()
	}
	if err != nil {
		return nil, fail(ctx, "open the raw message", err)
	}
	return r, nil
}

type pieceReader struct {
	s       *Store
	ctx     context.Context //nolint:containedctx // io.Reader has none
	pieces  pieces
	id      string
	number  int
	left    int64 // bytes not yet read, those in piece included
	piece   []byte
	missing func() error
}

// Read gives the next bytes. A message that is removed while it is read ends in
// an error, never early.
func (r *pieceReader) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if len(r.piece) == 0 {
		err := r.s.read.QueryRowContext(r.ctx, r.pieces.read, r.id, r.number).Scan(&r.piece)
		if absent(err) {
			return 0, r.missing()
		}
		if err != nil {
			return 0, fail(r.ctx, "read the raw message", err)
		}
		r.number++
	}
	n := copy(b, r.piece)
	r.piece, r.left = r.piece[n:], r.left-int64(n)
	return n, nil
}

// Close lets the last piece go.
func (r *pieceReader) Close() error {
	r.piece, r.left = nil, 0
	return nil
}
