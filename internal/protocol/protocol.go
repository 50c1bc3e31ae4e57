// Package protocol is the contract of a mail protocol: what a member (imap,
// pop3, smtp, graph) offers to the flows that draw on it.
//
// A protocol knows nothing of providers. What differs between servers meets it
// as data, in Endpoint. Every call takes a context, and a cancelled context
// closes the connection at once. Every error that comes out is a *fault.Error,
// classified by the member that met the server's reply.
package protocol

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Name is a protocol's name, as resources spell it.
type Name string

// The protocols of the contract.
const (
	IMAP  Name = "imap"
	POP3  Name = "pop3"
	Graph Name = "graph"
	SMTP  Name = "smtp"
)

// TLSMode is how a connection is protected.
type TLSMode string

// The modes; none is possible towards loopback only.
const (
	TLSImplicit TLSMode = "implicit"
	TLSStart    TLSMode = "starttls"
	TLSNone     TLSMode = "none"
)

// Mechanism is a SASL mechanism.
type Mechanism string

// The mechanisms that carry an access token.
const (
	XOAUTH2     Mechanism = "XOAUTH2"
	OAUTHBEARER Mechanism = "OAUTHBEARER" // RFC 7628
)

// Endpoint is one protocol at one server.
type Endpoint struct {
	Protocol Name
	Host     string
	Port     int
	TLS      TLSMode
	// CAPEM holds additional roots to trust for this server; empty for none.
	CAPEM []byte
	// Mechanisms are those to use, in order of preference, out of what the
	// server offers. Empty means OAUTHBEARER, then XOAUTH2.
	Mechanisms []Mechanism
	// Resource names the provider's resource whose access token is valid here
	// ("mail", "graph").
	Resource string
	// Setting is the prefix under which the resource file spells this
	// endpoint's settings ("receive", "send"), so that faults can name them.
	Setting string
}

// Login is who signs in to a mail server: the mailbox's own name there and an
// access token that may open it (a delegate's token with the shared mailbox's
// name, for example).
type Login struct {
	User        string
	AccessToken seal.Secret
}

// Step is one rung of the ladder of a test. A probe reports each rung as it
// is climbed; the first that fails is the last.
type Step struct {
	Name     string        `json:"name"` // dns, tcp, tls, greeting, capability, auth, open, mail_from
	Title    string        `json:"title"`
	OK       bool          `json:"ok"`
	Skipped  bool          `json:"skipped,omitempty"`
	Observed string        `json:"observed"` // what was seen, secrets removed
	Took     time.Duration `json:"took_ns"`
	Err      error         `json:"-"` // a *fault.Error when the rung failed
}

// Prober climbs from DNS to an opened mailbox. It reports every rung to yield
// and returns the fault of the one that failed, or nil. A login without an access
// token climbs as far as none is needed; the rung "auth" is then reported as
// skipped, and the fault is "protocol.no_access_token".
type Prober interface {
	Probe(ctx context.Context, at Endpoint, login Login, yield func(Step)) error
}

// Reader opens a mailbox for reading.
type Reader interface {
	OpenReader(ctx context.Context, at Endpoint, login Login) (Reading, error)
}

// FolderStatus is what a server says of a selected folder.
type FolderStatus struct {
	Folder      string
	UIDValidity uint32
	UIDNext     uint32
	Messages    uint32
}

// Reading is an open connection to a mailbox. It is used by one goroutine.
type Reading interface {
	// Select opens a folder and reports its state.
	Select(ctx context.Context, folder string) (FolderStatus, error)
	// Since yields the messages of the selected folder with a UID above after,
	// in order of UID, at most limit of them, without marking them seen. A
	// message larger than the member's bound is yielded with nil Raw. An error
	// from yield ends the call and is returned as it is.
	Since(ctx context.Context, after uint32, limit int, yield func(message.Received) error) error
	// Wait returns when the server says that the selected folder changed, when
	// atMost has passed, or with a fault when the connection is no longer good.
	// It keeps its own watchdog and never trusts a silent connection longer
	// than atMost plus a minute.
	Wait(ctx context.Context, atMost time.Duration) (changed bool, err error)
	// Dispose does what after_receive asks with messages handed on.
	Dispose(ctx context.Context, uids []uint32, what Disposal) error
	// Close ends the connection; it may be called more than once.
	Close() error
}

// Snapshot is a Reading whose server shows the mailbox as it was at sign-in, keeps
// others out meanwhile, and names its messages without numbering them for good
// (POP3, RFC 1939). It is closed after each look, and its UIDs are given by the
// member and kept by the caller: a message goes on under the UID of its
// Received.RemoteID for as long as it is told of.
type Snapshot interface {
	Reading
	// Remember tells, after Select and before any Since, which messages were handed
	// on from this folder, by RemoteID, with their UIDs, and the highest UID that
	// was ever used in it. Others get UIDs above all these. It gives the RemoteIDs
	// that the server has no more, which need not be told again.
	Remember(handed map[string]uint32, above uint32) (gone []string)
}

// Disposal is what happens at the server to a message that was handed on.
// Target is a folder for DisposeMove, empty otherwise.
type Disposal struct {
	Act    string // one of the Dispose constants
	Target string
}

// The acts of a Disposal.
const (
	DisposeKeep     = "keep"
	DisposeMarkSeen = "mark_seen"
	DisposeMove     = "move"
	DisposeDelete   = "delete"
)

// Receipt is a server's acceptance of a submission.
type Receipt struct {
	Reply    string // the server's last reply, shortened
	RemoteID string // a queue or message id, where the reply names one
}

// Sender submits one message (RFC 6409). Two of its faults mean something to
// whoever sends, in every member; see NoReply and AuthRefused.
type Sender interface {
	Send(ctx context.Context, at Endpoint, login Login, env message.Envelope, raw io.Reader, size int64) (Receipt, error)
}

// NoReply reports a fault (smtp.no_reply, graph.no_reply) that says that the
// connection broke between message and reply: the message may have been
// accepted, and only a look at the sent messages can tell.
func NoReply(f *fault.Error) bool { return strings.HasSuffix(f.ID, ".no_reply") }

// AuthRefused reports a fault (smtp.auth_refused, graph.auth_refused) that says
// that the server refused the access token as such.
func AuthRefused(f *fault.Error) bool { return strings.HasSuffix(f.ID, ".auth_refused") }

// SentFinder looks whether a message with this Message-ID is among the sent
// messages of a mailbox. It is an optional power of a Reader's member.
type SentFinder interface {
	FindSent(ctx context.Context, at Endpoint, login Login, messageID string) (found bool, err error)
}
