// Package stock fills databases as months of work would, in seconds: mailboxes
// with their grants, events, messages, submissions and webhooks with their
// deliveries. Tests and benchmarks that ask how something does with much in the
// store start from it; it is for them alone.
//
// The rows are made by the database itself, from numbers: one SQL text for
// SQLite and PostgreSQL. Row i of everything is about mailbox i modulo the number
// of mailboxes, except that every tenth is about the first, the busy one.
package stock

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// Plan says how much of everything there is to be. Numbers that are zero mean
// none; what else is zero has a sensible value.
type Plan struct {
	Mailboxes   int
	Events      int
	Messages    int
	Submissions int
	Webhooks    int
	Deliveries  int // of the newest events, over all webhooks; at most Events
	// Trouble makes every so-manieth mailbox one that needs attention: dead,
	// suspended, failing, never authorised, or in quarantine. 0: none.
	Trouble int
	// Sealed is how many mailboxes, from the first, have a refresh token and an access
	// token of their own, which open; the others share one that does not.
	Sealed int
	// Due is how many grants, from the first, are to be renewed DueAfter the database is
	// filled; the others are spread over the hour after the next.
	Due      int
	DueAfter time.Duration

	// Paused has an operator pause every mailbox, so that nothing is done with it yet.
	Paused bool

	Now time.Time // newest of everything; the real time
	// Provider and Mailbox are what there is of each: of the mailbox, ID and address
	// are set here.
	Provider provider.Record
	Mailbox  mailbox.Mailbox
}

// Address is the address of mailbox i.
func Address(i int) string { return fmt.Sprintf("desk%07d@example.org", i) }

// MailboxID is the ID of mailbox i.
func MailboxID(i int) string { return fmt.Sprintf("01900000-0000-7001-8000-%012d", i) }

// RefreshToken is the refresh token of mailbox i, where it has its own.
func RefreshToken(i int) string { return fmt.Sprintf("refresh-%07d", i) }

// AccessToken is the access token of mailbox i, where it has its own.
func AccessToken(i int) string { return fmt.Sprintf("access-%07d", i) }

// WebhookName is the name of webhook i.
func WebhookName(i int) string { return fmt.Sprintf("desk-%d", i) }

// Standard is the stock that the goals for pages speak of.
func Standard() Plan {
	return Plan{
		Mailboxes: 10_000, Events: 1_000_000, Messages: 200_000, Submissions: 50_000, Webhooks: 10, Deliveries: 100_000,
		Trouble: 50, Sealed: 100,
	}
}

// The kinds of rows, as the third group of their IDs.
const (
	mailboxes   = "7001"
	messages    = "7002"
	submissions = "7003"
	events      = "7004"
	webhooks    = "7005"
	deliveries  = "7006"
	quarantined = "7007"
)

// filler fills one database.
type filler struct {
	Plan
	ctx      context.Context //nolint:containedctx // the test's own
	db       *sql.Conn
	postgres bool
	keys     *seal.Keyset
	cache    int // SQLite's, as the store has set it
}

// Fill fills an empty database.
func Fill(t testing.TB, s *store.Store, keys *seal.Keyset, p Plan) {
	t.Helper()
	if p.Now.IsZero() {
		p.Now = time.Now()
	}
	p.Sealed, p.Deliveries = min(p.Sealed, p.Mailboxes), min(p.Deliveries, p.Events)
	f := &filler{Plan: p, ctx: t.Context(), postgres: s.Dialect() == "postgres", keys: keys}
	f.defaults()
	err := s.SaveProvider(t.Context(), connect.SaveProvider{
		Record: f.Provider, Event: event.New(p.Now, event.ProviderCreated, event.System(), "The provider was added."),
	})
	if err == nil {
		db, _ := s.Database()
		f.db, err = db.Conn(t.Context())
	}
	for _, step := range []func() error{
		f.hasten, f.fillMailboxes, f.fillGrants, f.fillAccess, f.fillEvents, f.fillMessages, f.fillSubmissions, f.fillWebhooks, f.fillDeliveries, f.settle, f.setDue,
	} {
		if err == nil {
			err = step()
		}
	}
	if f.db != nil {
		err = errors.Join(err, f.db.Close())
	}
	if err != nil {
		t.Fatalf("fill the database: %v", err)
	}
}

func (f *filler) defaults() {
	if f.Provider.Name == "" {
		f.Provider = provider.Record{Name: "contoso", Kind: "generic", Issuer: "https://issuer.example.org", ClientID: "client"}
	}
	f.Provider.ID, f.Provider.Version, f.Provider.CreatedAt, f.Provider.UpdatedAt = event.NewID(), 1, f.Now, f.Now
	if f.Mailbox.Receive == nil && f.Mailbox.Send == nil {
		f.Mailbox.Receive = &mailbox.Receive{
			Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush,
			Server: mailbox.Server{Host: "imap.example.org", Port: 993, TLS: protocol.TLSImplicit},
		}
		f.Mailbox.Send = &mailbox.Send{Protocol: protocol.SMTP, Server: mailbox.Server{Host: "smtp.example.org", Port: 465, TLS: protocol.TLSImplicit}}
	}
	m := &f.Mailbox
	m.ID, m.Address, m.Provider, m.GrantType, m.ActsAs = marker("id"), marker("address"), f.Provider.Name, "authorization_code", "owner"
	m.Paused = f.Paused
	m.Version, m.CreatedAt, m.UpdatedAt = 1, f.Now.Add(-span), f.Now.Add(-span)
}

// span is the time over which the stock came together.
const span = 30 * 24 * time.Hour

// chunk is how many rows one transaction makes.
const chunk = 50_000

// fill runs an INSERT that selects from n: n.i is the row's number, from 0 to count-1.
func (f *filler) fill(count int, insert string) error {
	for from := 0; from < count; from += chunk {
		to := min(from+chunk, count) - 1
		query := fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT CAST(%d AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < %d) %s", from, to, insert)
		if _, err := f.db.ExecContext(f.ctx, query); err != nil {
			return fmt.Errorf("%w in %.300s", err, query)
		}
	}
	return nil
}

// fillSealed is the same for rows with a secret of their own (n.sealed), from
// first to count-1, and for those that share one.
func (f *filler) fillSealed(own, count int, secret func(i int) (string, []byte), insert string) error {
	const few = 500
	for from := 0; from < own; from += few {
		var values []string
		for i := from; i < min(from+few, own); i++ {
			value, where := secret(i)
			sealed, err := f.keys.Seal(seal.NewSecret(value), where)
			if err != nil {
				return err
			}
			values = append(values, fmt.Sprintf("(CAST(%d AS BIGINT), %s)", i, f.blob(sealed.Bytes())))
		}
		if _, err := f.db.ExecContext(f.ctx, "WITH n(i, sealed) AS (VALUES "+strings.Join(values, ", ")+") "+insert); err != nil {
			return err
		}
	}
	if own == count {
		return nil
	}
	sealed, err := f.keys.Seal(seal.NewSecret("nobody's"), seal.Where("nowhere"))
	if err != nil {
		return err
	}
	for from := own; from < count; from += chunk {
		to := min(from+chunk, count) - 1
		query := fmt.Sprintf("WITH RECURSIVE n(i, sealed) AS (SELECT CAST(%d AS BIGINT), %s UNION ALL SELECT i + 1, sealed FROM n WHERE i < %d) %s",
			from, f.blob(sealed.Bytes()), to, insert)
		if _, err := f.db.ExecContext(f.ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// hasten gives up, on this connection and until settle, what costs time and is of
// no use while the database is made.
func (f *filler) hasten() error {
	if f.postgres {
		return f.run("SET session_replication_role = replica", "SET synchronous_commit = off") // references are not checked
	}
	if err := f.db.QueryRowContext(f.ctx, "PRAGMA cache_size").Scan(&f.cache); err != nil {
		return err
	}
	return f.run("PRAGMA synchronous = OFF", "PRAGMA foreign_keys = OFF", "PRAGMA cache_size = -400000")
}

// settle goes back to what the store has set, and has the database know what it
// holds, as its own upkeep would in time.
func (f *filler) settle() error {
	if f.postgres {
		return f.run("RESET session_replication_role", "RESET synchronous_commit", "VACUUM ANALYZE", "CHECKPOINT")
	}
	return f.run(fmt.Sprintf("PRAGMA cache_size = %d", f.cache), "PRAGMA foreign_keys = ON", "PRAGMA synchronous = FULL", "PRAGMA wal_checkpoint(TRUNCATE)")
}

// setDue comes last, since filling takes its time.
func (f *filler) setDue() error {
	if f.Due == 0 {
		return nil
	}
	at := f.Now
	if f.DueAfter > 0 {
		at = time.Now().Add(f.DueAfter)
	}
	return f.run(fmt.Sprintf("UPDATE grants SET next_refresh_at = %d WHERE state = 'active' AND mailbox_id < '%s'", at.UnixMicro(), MailboxID(f.Due)))
}

func (f *filler) run(statements ...string) error {
	var errs []error
	for _, statement := range statements {
		_, err := f.db.ExecContext(f.ctx, statement)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// blob is a literal of bytes.
func (f *filler) blob(b []byte) string {
	if f.postgres {
		return `'\x` + hex.EncodeToString(b) + `'::bytea`
	}
	return "X'" + hex.EncodeToString(b) + "'"
}

// digest is an expression for 32 bytes that differ from row to row.
func (f *filler) digest() string {
	if f.postgres {
		return "decode(md5(CAST(n.i AS TEXT)) || md5(CAST(-n.i AS TEXT)), 'hex')"
	}
	return "randomblob(32)"
}

// raw is a literal of a raw message, as bytes.
func (f *filler) raw(text string) string { return f.blob([]byte(text)) }

// number is an expression for a number with leading zeros.
func number(expression string, digits int) string {
	return fmt.Sprintf("substr(CAST(%s + 1%0*d AS TEXT), 2)", expression, digits, 0)
}

// id is an expression for the ID of row number expression of a kind.
func id(kind, expression string) string {
	return "'01900000-0000-" + kind + "-8000-' || " + number(expression, 12)
}

// address is an expression for a mailbox's address.
func address(expression string) string {
	return "'desk' || " + number(expression, 7) + " || '@example.org'"
}

// about is an expression for the number of the mailbox that row n.i is about.
func (f *filler) about() string {
	return fmt.Sprintf("(CASE WHEN n.i %% 10 = 0 THEN 0 ELSE n.i %% %d END)", max(1, f.Mailboxes))
}

// when is an expression for the time of row n.i out of count: the last is the newest.
func (f *filler) when(count int) string {
	step := span.Microseconds() / int64(max(1, count))
	return fmt.Sprintf("(%d + n.i * %d)", f.Now.Add(-span).UnixMicro(), step)
}

// marker stands in a document for what differs from row to row.
func marker(name string) string { return "{" + name + "}" }

// literal is a text with its markers replaced by expressions.
func literal(text string, marked ...string) string {
	out := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	for i := 0; i < len(marked); i += 2 {
		out = strings.ReplaceAll(out, marker(marked[i]), "' || "+marked[i+1]+" || '")
	}
	return out
}

// document is literal for the JSON of a value.
func document(v any, marked ...string) (string, error) {
	b, err := json.Marshal(v)
	return literal(string(b), marked...), err
}

// cases is an expression that chooses by a number: pairs of an upper bound and a
// text, and what holds above.
func cases(expression string, otherwise string, bounds ...any) string {
	out := "CASE"
	for i := 0; i < len(bounds); i += 2 {
		out += " WHEN " + expression + " < " + strconv.Itoa(bounds[i].(int)) + " THEN " + bounds[i+1].(string)
	}
	return out + " ELSE " + otherwise + " END"
}
