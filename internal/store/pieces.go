package store

import (
	"context"
	"io"
)

// pieceSize bounds one stored piece of a raw message, in bytes: a row stays
// small whatever the message, and a reader holds one piece at a time.
const pieceSize = 256 << 10

// pieces is where raw messages of one sort are kept.
type pieces struct{ into, read, size string }

var (
	messagePieces = pieces{
		into: "message_pieces (message_id, number, bytes)",
		read: "SELECT bytes FROM message_pieces WHERE message_id = $1 AND number = $2",
		size: "SELECT size FROM messages WHERE id = $1",
	}
	submissionPieces = pieces{
		into: "submission_pieces (submission_id, number, bytes)",
		read: "SELECT bytes FROM submission_pieces WHERE submission_id = $1 AND number = $2",
		size: "SELECT size FROM submissions WHERE id = $1",
	}
)

// piecesOf cuts a raw message into rows.
func piecesOf(id string, raw []byte) [][]any {
	var rows [][]any
	for number := 0; len(raw) > 0; number++ {
		piece := raw[:min(pieceSize, len(raw))]
		raw = raw[len(piece):]
		rows = append(rows, []any{id, number, piece})
	}
	return rows
}

// putPieces stores such rows: small ones together, others one by one, so that no
// statement carries more than a few megabytes.
func (t *tx) putPieces(p pieces, rows [][]any) error {
	const small = 32 << 10
	var together [][]any
	for _, row := range rows {
		if raw, ok := row[2].([]byte); ok && len(raw) > small {
			if err := t.insert(p.into, [][]any{row}); err != nil {
				return err
			}
			continue
		}
		together = append(together, row)
	}
	return t.insert(p.into, together)
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
