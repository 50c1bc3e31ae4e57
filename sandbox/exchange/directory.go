package exchange

import (
	"strings"
	"time"
)

// Directory is what this package needs to know about the tenant. All methods
// may be called from many goroutines at once and must not block on this
// package.
type Directory interface {
	// CheckAccessToken names the bearer of a raw access token, or says why it
	// is worth nothing (unknown, forged, revoked). Audience, scope and expiry
	// are judged here, not by the directory.
	CheckAccessToken(raw string) (Principal, error)
	// Mailbox finds the mailbox that has address as its primary address or as
	// an alias. Letter case does not matter.
	Mailbox(address string) (Mailbox, bool)
	// HostsDomain says whether domain is an accepted domain here, so that an
	// address in it without a mailbox is an unknown recipient.
	HostsDomain(domain string) bool
	// MayOpen says whether the principal may open the mailbox, by owning it,
	// by Full Access, or (app-only) by a permission of its service principal.
	MayOpen(who Principal, mailbox string) bool
	// MaySendAs says whether the principal, signed in to mailbox, may send
	// with from as its author. Full Access alone does not include it.
	MaySendAs(who Principal, mailbox, from string) bool
	// Now is the tenant's clock; it dates mail and judges expiry and rates.
	Now() time.Time
	// Fault is asked at each named point whether something should go wrong
	// there. mailbox is empty while it is not known yet.
	Fault(point FaultPoint, mailbox string) Fault
	// Record is told of every command that was answered. It must not block.
	Record(call Call)
}

// Principal is the bearer of an access token, as its claims say.
type Principal struct {
	// TenantID and ObjectID identify user or service principal (tid, oid).
	TenantID, ObjectID string
	// UPN is the user's principal name; empty for an app-only token.
	UPN string
	// AppID is the client that the token was issued to (appid, azp).
	AppID string
	// Audience is the resource the token is for (aud).
	Audience string
	// Scopes are the delegated permissions (scp), Roles the application
	// permissions (roles).
	Scopes, Roles []string
	// Expires is the moment from which the token is refused (exp).
	Expires time.Time
}

// Mailbox is a mailbox as the directory describes it.
type Mailbox struct {
	// Address is the primary address. It is also the mailbox's identity here:
	// stored mail hangs on it.
	Address string
	// IMAPEnabled is Set-CASMailbox -ImapEnabled.
	IMAPEnabled bool
	// POPEnabled is Set-CASMailbox -PopEnabled.
	POPEnabled bool
	// SubmissionAuth is the outcome of SmtpClientAuthenticationDisabled of
	// mailbox and tenant.
	SubmissionAuth SubmissionAuth
	// Licensed is true for shared mailboxes too, which need no licence.
	Licensed bool
}

// SubmissionAuth says whether a mailbox may sign in to SMTP submission, and if
// not, whose setting forbids it.
type SubmissionAuth int

// The outcomes of Set-CASMailbox and Set-TransportConfig; a setting of the
// mailbox wins over the tenant's.
const (
	SubmissionAuthOn SubmissionAuth = iota
	SubmissionAuthOffForMailbox
	SubmissionAuthOffForTenant
)

// FaultPoint names a place where a fault can be injected.
type FaultPoint string

// The points, with what happens there when the fault is active. A Reply in the
// fault replaces the default text, except where none is sent.
const (
	// FaultIMAPAuth refuses AUTHENTICATE: "NO AUTHENTICATE failed.".
	FaultIMAPAuth FaultPoint = "imap.auth"
	// FaultIMAPSelect refuses SELECT and EXAMINE:
	// "NO Server Unavailable. 15".
	FaultIMAPSelect FaultPoint = "imap.select"
	// FaultIMAPThrottled answers any command after sign-in with
	// "BAD Request is throttled. Suggested Backoff Time: 299990 milliseconds".
	FaultIMAPThrottled FaultPoint = "imap.throttled"
	// FaultIMAPIdleSilent makes an idling connection go dead without closing:
	// no pushes, no answer to DONE or to anything after it.
	FaultIMAPIdleSilent FaultPoint = "imap.idle.silent"
	// FaultIMAPCut closes the connection when a command arrives, unanswered.
	FaultIMAPCut FaultPoint = "imap.cut"
	// FaultPOP3Auth refuses AUTH:
	// "-ERR Authentication failure: unknown user name or bad password.".
	FaultPOP3Auth FaultPoint = "pop3.auth"
	// FaultPOP3Open refuses any command in an open mailbox:
	// "-ERR Server Unavailable. 15".
	FaultPOP3Open FaultPoint = "pop3.open"
	// FaultPOP3Retrieve refuses RETR and TOP: "-ERR Message corrupted".
	FaultPOP3Retrieve FaultPoint = "pop3.retrieve"
	// FaultPOP3Cut closes the connection when a command arrives, unanswered.
	FaultPOP3Cut FaultPoint = "pop3.cut"
	// FaultPOP3Quit closes the connection instead of answering QUIT; nothing is
	// deleted.
	FaultPOP3Quit FaultPoint = "pop3.quit"
	// FaultSMTPAuth refuses AUTH: "535 5.7.3 Authentication unsuccessful".
	FaultSMTPAuth FaultPoint = "smtp.auth"
	// FaultSMTPMail refuses MAIL: "451 4.7.0 Temporary server error. Please
	// try again later. PRX2".
	FaultSMTPMail FaultPoint = "smtp.mail"
	// FaultSMTPThrottled answers MAIL as if the rate were exceeded (421) and
	// closes.
	FaultSMTPThrottled FaultPoint = "smtp.throttled"
	// FaultSMTPDataTemporary reads the message, keeps nothing, and answers
	// "451 4.7.0 Temporary server error. Please try again later. PRX5".
	FaultSMTPDataTemporary FaultPoint = "smtp.data.4xx"
	// FaultSMTPDataBeforeReply accepts and delivers the message, then closes
	// the connection instead of answering.
	FaultSMTPDataBeforeReply FaultPoint = "smtp.data.before_reply"
)

// FaultPoints lists every point, for control pages and checks of input.
func FaultPoints() []FaultPoint {
	return []FaultPoint{
		FaultIMAPAuth, FaultIMAPSelect, FaultIMAPThrottled, FaultIMAPIdleSilent, FaultIMAPCut,
		FaultPOP3Auth, FaultPOP3Open, FaultPOP3Retrieve, FaultPOP3Cut, FaultPOP3Quit,
		FaultSMTPAuth, FaultSMTPMail, FaultSMTPThrottled, FaultSMTPDataTemporary, FaultSMTPDataBeforeReply,
	}
}

// Fault is a directory's answer at a fault point.
type Fault struct {
	// Active says that the fault happens now.
	Active bool
	// Reply, if set, is sent in place of the default text: for IMAP all that
	// follows the tag ("NO Server Unavailable. 15"), for POP3 and SMTP the whole
	// reply line ("451 4.7.0 Temporary server error").
	Reply string
}

// Call is one command and its answer, for the record of what clients did.
// Neither access tokens nor passwords nor message bodies are in it.
type Call struct {
	At       time.Time
	Protocol string // "imap", "pop3" or "smtp"
	Mailbox  string // primary address once known, else what the client asked for
	UPN      string // principal name once signed in
	Command  string // "AUTHENTICATE XOAUTH2", "UID FETCH 1:* (FLAGS)", "MAIL FROM:<a@b>"
	Reply    string // "OK AUTHENTICATE completed.", "+ idling", "535 5.7.3 ..."
	// Reason is what the wire does not say: why an access token was refused,
	// why a mailbox did not open. Empty when the reply says it all.
	Reason string
}

// domainOf returns the part of an address after the last "@", in lower case.
func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}
