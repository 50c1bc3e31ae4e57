package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mailgrant/mailgrant/internal/idempotency"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// sealedColumn is a column that holds sealed values. Its rows are named by two
// keys; second is ” where one suffices. Where gives the associated data of a row.
type sealedColumn struct {
	table, column, first, second, bound string
	where                               func(first, second string, bound []byte) []byte
}

func refreshToken(id, _ string, _ []byte) []byte { return seal.Where("grant", id, "refresh_token") }

func signingSecret(id, _ string, _ []byte) []byte { return seal.Where("webhook", id, "secret") }

// sealedColumns lists every one. The current refresh token comes before the
// previous one, and the signing secret of a webhook too: a rotation during the
// walk moves a value to a column that is still to come.
func sealedColumns() []sealedColumn {
	return []sealedColumn{
		{table: "grants", column: "refresh_token", first: "mailbox_id", where: refreshToken},
		{table: "grants", column: "previous_refresh_token", first: "mailbox_id", where: refreshToken},
		{table: "grants", column: "candidate", first: "mailbox_id", where: refreshToken},
		{table: "access_tokens", column: "sealed", first: "mailbox_id", second: "resource", where: func(id, resource string, _ []byte) []byte {
			return seal.Where("access_token", id, resource)
		}},
		{table: "quarantines", column: "refresh_token", first: "mailbox_id", where: func(id, _ string, _ []byte) []byte {
			return seal.Where("quarantine", id, "refresh_token")
		}},
		{table: "attempts", column: "verifier", first: "id", where: func(id, _ string, _ []byte) []byte { return seal.Where("attempt", id, "verifier") }},
		{table: "attempts", column: "nonce", first: "id", where: func(id, _ string, _ []byte) []byte { return seal.Where("attempt", id, "nonce") }},
		{table: "webhooks", column: "secret", first: "id", where: signingSecret},
		{table: "webhooks", column: "previous_secret", first: "id", where: signingSecret},
		{table: "provider_secrets", column: "sealed", first: "provider_id", second: "id", bound: "bound_to", where: func(_, _ string, bound []byte) []byte {
			return bound
		}},
		{table: "idempotency_keys", column: "digest", first: "id", where: func(id, _ string, _ []byte) []byte { return idempotency.Where(id) }},
	}
}

func (c sealedColumn) keys() (second, bound string) {
	second, bound = "''", "NULL"
	if c.second != "" {
		second = c.second
	}
	if c.bound != "" {
		bound = c.bound
	}
	return second, bound
}

// keyPrefix is where a sealed value names its key (package seal): bytes 2 to 5,
// counted from 1 as SQL does.
func keyPrefix(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

// resealed at a time; each in a small statement of its own.
const resealBatch = 100

// ResealAll seals every stored secret under the primary key and gives how many
// it changed. Values that change meanwhile are left to whoever changes them: they
// are sealed under the primary key already. A value that cannot be opened does not
// stop the others; it is part of the error.
func (s *Store) ResealAll(ctx context.Context, keys *seal.Keyset) (int, error) {
	total := 0
	var failures []error
	for _, c := range sealedColumns() {
		n, err := s.resealColumn(ctx, c, keys)
		total += n
		if err != nil {
			failures = append(failures, fmt.Errorf("seal %s.%s anew: %w", c.table, c.column, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return total, errors.Join(failures...)
}

type sealedRow struct {
	first, second string
	value         seal.Sealed
	bound         []byte
}

// resealColumn walks one column in the order of its keys.
func (s *Store) resealColumn(ctx context.Context, c sealedColumn, keys *seal.Keyset) (int, error) {
	second, bound := c.keys()
	query := fmt.Sprintf(`
		SELECT %[3]s, %[4]s, %[2]s, %[5]s FROM %[1]s
		WHERE %[2]s IS NOT NULL AND substr(%[2]s, 2, 4) <> $1 AND (%[3]s > $2 OR (%[3]s = $2 AND %[4]s > $3))
		ORDER BY 1, 2 LIMIT $4`, c.table, c.column, c.first, second, bound)
	update := fmt.Sprintf("UPDATE %s SET %s = $1 WHERE %s = $2 AND %s = $3 AND %s = $4", c.table, c.column, c.first, second, c.column)
	done, last := 0, sealedRow{}
	var failures []error
	for {
		var batch []sealedRow
		err := s.rows(ctx, query, []any{keyPrefix(keys.PrimaryKeyID()), last.first, last.second, resealBatch}, func(row scanner) error {
			var r sealedRow
			err := row.Scan(&r.first, &r.second, shut(&r.value), &r.bound)
			batch = append(batch, r)
			return err
		})
		if err != nil {
			return done, fail(ctx, "find sealed values", errors.Join(append(failures, err)...))
		}
		if len(batch) == 0 {
			return done, errors.Join(failures...)
		}
		for _, r := range batch {
			fresh, changed, err := keys.Reseal(r.value, c.where(r.first, r.second, r.bound))
			if err != nil || !changed {
				failures = append(failures, wrapped(r.first, err)...)
				continue
			}
			err = s.change(ctx, "seal anew", func(t *tx) error {
				n, err := t.exec(update, fresh.Bytes(), r.first, r.second, r.value.Bytes())
				done += int(n)
				return err
			})
			if err != nil {
				return done, errors.Join(append(failures, err)...)
			}
		}
		last = batch[len(batch)-1]
	}
}

// wrapped names the row of an error; nothing for none.
func wrapped(row string, err error) []error {
	if err == nil {
		return nil
	}
	return []error{fmt.Errorf("row %s: %w", row, err)}
}

// SealedCount counts the stored secrets by the key that sealed them. A key that
// is not in it has nothing left under it.
func (s *Store) SealedCount(ctx context.Context) (map[uint32]int, error) {
	counts := map[uint32]int{}
	for _, c := range sealedColumns() {
		query := fmt.Sprintf("SELECT substr(%[2]s, 2, 4), COUNT(*) FROM %[1]s WHERE %[2]s IS NOT NULL GROUP BY 1", c.table, c.column)
		err := s.rows(ctx, query, nil, func(row scanner) error {
			var key []byte
			var n int
			if err := row.Scan(&key, &n); err != nil {
				return err
			}
			if len(key) == 4 {
				counts[binary.BigEndian.Uint32(key)] += n
			}
			return nil
		})
		if err != nil {
			return nil, fail(ctx, "count sealed values", err)
		}
	}
	return counts, nil
}
