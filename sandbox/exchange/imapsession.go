package exchange

import (
	"bytes"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"
)

// imapSession is what one IMAP connection may do. It belongs to the
// connection's goroutine; Idle reads what no longer changes by then, and view.
type imapSession struct {
	x       *Exchange
	dialect *imapDialect

	signedIn bool
	who      Principal
	asked    string // the mailbox the client named
	box      *box   // nil: authenticated but not connected
	address  string // primary address of box
	reason   string // for the record, of the command being answered

	// view is the selected folder, or nil. Idle reads it on a goroutine of its
	// own, so it is set under the lock.
	viewMu sync.Mutex
	view   *view
}

var (
	_ imapserver.SessionSASL        = (*imapSession)(nil)
	_ imapserver.SessionMove        = (*imapSession)(nil)
	_ imapserver.SessionNamespace   = (*imapSession)(nil)
	_ imapserver.SessionAppendLimit = (*imapSession)(nil)
)

func (x *Exchange) newIMAPServer() *imapserver.Server {
	return imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			d := c.NetConn().(*imapDialect)
			if err := d.start(); err != nil {
				return nil, nil, err
			}
			return d.session, nil, nil
		},
		// What the library may do; what clients are told is the dialect's.
		Caps: imap.CapSet{
			imap.CapIMAP4rev1: {}, imap.CapNamespace: {}, imap.CapUIDPlus: {}, imap.CapMove: {},
			imap.CapChildren: {}, imap.CapLiteralPlus: {},
		},
		Logger: serverLog{log: x.opts.Logger, protocol: "imap"},
		// The library sees no TLS, because the dialect is above it.
		InsecureAuth: true,
	})
}

func no(text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Text: text}
}

func noSuchFolder(name string) error { return no(name + " doesn't exist.") }

// replied makes an error of a whole reply such as "NO text" or "BAD text".
func replied(reply string) error {
	for _, kind := range []imap.StatusResponseType{imap.StatusResponseTypeBad, imap.StatusResponseTypeNo} {
		if text, ok := bytes.CutPrefix([]byte(reply), []byte(kind+" ")); ok {
			return &imap.Error{Type: kind, Text: string(text)}
		}
	}
	return no(reply)
}

func (s *imapSession) mailbox() string {
	if s.address != "" {
		return s.address
	}
	return s.asked
}

func (s *imapSession) fault(point FaultPoint) Fault {
	return s.x.dir.Fault(point, s.mailbox())
}

func (s *imapSession) record(command, reply, reason string) {
	s.x.dir.Record(Call{
		At: s.x.dir.Now(), Protocol: "imap", Mailbox: s.mailbox(), UPN: s.who.UPN,
		Command: command, Reply: reply, Reason: reason,
	})
}

// expired says whether the access token of the sign-in has run out since.
func (s *imapSession) expired() bool { return !s.x.dir.Now().Before(s.who.Expires) }

func (s *imapSession) takeReason() string {
	reason := s.reason
	s.reason = ""
	return reason
}

// Close implements [imapserver.Session].
func (s *imapSession) Close() error {
	return s.Unselect()
}

// Login refuses: Exchange takes no passwords.
func (s *imapSession) Login(_, _ string) error {
	s.reason = "basic authentication is disabled"
	return no("LOGIN failed.")
}

// AuthenticateMechanisms implements [imapserver.SessionSASL].
func (s *imapSession) AuthenticateMechanisms() []string { return []string{"PLAIN", "XOAUTH2"} }

// Authenticate implements [imapserver.SessionSASL].
func (s *imapSession) Authenticate(mechanism string) (sasl.Server, error) {
	if mechanism != "XOAUTH2" {
		s.reason = "basic authentication is disabled"
		return nil, no("AUTHENTICATE failed.")
	}
	return xoauth2Server(s.signIn), nil
}

// xoauth2Server is the server's end of XOAUTH2 in Exchange's manner: one
// response, no challenge with reasons.
type xoauth2Server func(response []byte) error

// Next implements [sasl.Server].
func (f xoauth2Server) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil
	}
	return nil, true, f(response)
}

func (s *imapSession) signIn(response []byte) error {
	failed := no("AUTHENTICATE failed.")
	asked, raw, err := ParseXOAUTH2(response)
	if err != nil {
		s.reason = err.Error()
		return failed
	}
	s.asked = asked
	if fault := s.fault(FaultIMAPAuth); fault.Active {
		s.reason = "fault " + string(FaultIMAPAuth)
		return replied(orElse(fault.Reply, authFailed))
	}
	who, err := s.x.principal(raw, imapPermission)
	if err != nil {
		s.reason = err.Error()
		return failed
	}
	mailbox, found := s.x.dir.Mailbox(asked)
	if found && !mailbox.IMAPEnabled {
		s.reason = "IMAP is disabled for " + mailbox.Address
		return failed
	}
	s.who, s.signedIn = who, true
	if s.reason = s.x.opens(who, asked, mailbox, found); s.reason != "" {
		return nil // authenticated but not connected
	}
	if !s.dialect.claim(mailbox.Address, s.x.opts.MaxIMAPConnections) {
		s.reason = "too many IMAP connections to " + mailbox.Address
		return nil
	}
	s.address, s.box = mailbox.Address, s.x.store.box(mailbox.Address)
	return nil
}

// Select implements [imapserver.Session].
func (s *imapSession) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	if fault := s.fault(FaultIMAPSelect); fault.Active {
		s.reason = "fault " + string(FaultIMAPSelect)
		return nil, replied(orElse(fault.Reply, "NO Server Unavailable. 15"))
	}
	f := s.box.folder(name)
	if f == nil {
		return nil, noSuchFolder(name)
	}
	v, data := f.open(options.ReadOnly)
	s.setView(v)
	return data, nil
}

// Unselect implements [imapserver.Session].
func (s *imapSession) Unselect() error {
	if s.view != nil {
		s.view.close()
		s.setView(nil)
	}
	return nil
}

func (s *imapSession) setView(v *view) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	s.view = v
}

// Create implements [imapserver.Session].
func (s *imapSession) Create(name string, _ *imap.CreateOptions) error {
	return refused(s.box.create(name))
}

// Delete implements [imapserver.Session].
func (s *imapSession) Delete(name string) error { return refused(s.box.remove(name)) }

// Rename implements [imapserver.Session].
func (s *imapSession) Rename(from, to string, _ *imap.RenameOptions) error {
	return refused(s.box.rename(from, to))
}

func refused(err error) error {
	if err != nil {
		return no(err.Error() + ".")
	}
	return nil
}

// Subscribe implements [imapserver.Session].
func (s *imapSession) Subscribe(name string) error { return s.subscription(name, true) }

// Unsubscribe implements [imapserver.Session].
func (s *imapSession) Unsubscribe(name string) error { return s.subscription(name, false) }

func (s *imapSession) subscription(name string, on bool) error {
	f := s.box.folder(name)
	if f == nil {
		return noSuchFolder(name)
	}
	f.mu.Lock()
	f.subscribed = on
	f.mu.Unlock()
	return nil
}

// Namespace implements [imapserver.SessionNamespace].
func (s *imapSession) Namespace() (*imap.NamespaceData, error) {
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: delimiter}}}, nil
}

// AppendLimit implements [imapserver.SessionAppendLimit].
func (s *imapSession) AppendLimit() uint32 { return MaxMessageBytes }

// List implements [imapserver.Session]. Exchange shows the SPECIAL-USE
// attributes without being asked.
func (s *imapSession) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	if len(patterns) == 0 {
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: delimiter})
	}
	for _, f := range s.box.list() {
		f.mu.Lock()
		name, subscribed := f.name, f.subscribed
		f.mu.Unlock()
		if options.SelectSubscribed && !subscribed || options.SelectSpecialUse && f.use == "" || !matches(name, ref, patterns) {
			continue
		}
		data := &imap.ListData{Mailbox: name, Delim: delimiter}
		if s.box.hasChildren(name) {
			data.Attrs = append(data.Attrs, imap.MailboxAttrHasChildren)
		} else {
			data.Attrs = append(data.Attrs, imap.MailboxAttrHasNoChildren)
		}
		if f.use != "" {
			data.Attrs = append(data.Attrs, f.use)
		}
		if options.ReturnStatus != nil {
			data.Status = f.status(options.ReturnStatus)
		}
		if err := w.WriteList(data); err != nil {
			return err
		}
	}
	return nil
}

func matches(name, ref string, patterns []string) bool {
	for _, pattern := range patterns {
		if imapserver.MatchList(name, delimiter, ref, folderPattern(pattern)) {
			return true
		}
	}
	return false
}

// folderPattern lets INBOX be asked for in any case.
func folderPattern(pattern string) string {
	if folderName(pattern) == "INBOX" {
		return "INBOX"
	}
	return pattern
}

// Status implements [imapserver.Session].
func (s *imapSession) Status(name string, options *imap.StatusOptions) (*imap.StatusData, error) {
	f := s.box.folder(name)
	if f == nil {
		return nil, noSuchFolder(name)
	}
	return f.status(options), nil
}

// Append implements [imapserver.Session].
func (s *imapSession) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxMessageBytes))
	if err != nil {
		return nil, err
	}
	f := s.box.folder(name)
	if f == nil {
		return nil, &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeTryCreate, Text: name + " doesn't exist."}
	}
	received := options.Time
	if received.IsZero() {
		received = s.x.dir.Now()
	}
	return &imap.AppendData{UID: f.add(raw, received, options.Flags), UIDValidity: f.uidValidity}, nil
}

// Poll implements [imapserver.Session].
func (s *imapSession) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	if s.view == nil {
		return nil
	}
	return s.view.tracker.Poll(w, allowExpunge)
}

// Idle implements [imapserver.Session].
func (s *imapSession) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	if s.fault(FaultIMAPIdleSilent).Active {
		s.dialect.silent.Store(true)
	}
	s.viewMu.Lock()
	v := s.view
	s.viewMu.Unlock()
	if v == nil {
		<-stop
		return nil
	}
	return v.idle(w, stop)
}
