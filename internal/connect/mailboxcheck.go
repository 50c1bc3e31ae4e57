package connect

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// The grant type of today, and how often a poll may ask.
const (
	grantAuthorizationCode = "authorization_code"
	shortestPoll           = 10 * time.Second
	longestPoll            = 24 * time.Hour
	defaultPoll            = time.Minute
)

// known is where the provider of a mailbox is looked up.
type known interface {
	// record gives a provider with its kind; "provider.unknown" when there is none.
	record(ctx context.Context, name string) (provider.Record, provider.Kind, error)
	// names lists the providers there are.
	names(ctx context.Context) ([]string, error)
}

// check finds what is wrong with a mailbox and fills in defaults.
func (b *Mailboxes) check(ctx context.Context, known known, m *mailbox.Mailbox) error {
	var mistakes []error
	address, err := message.Address(m.Address)
	if err != nil {
		mistakes = append(mistakes, inField(err, "address"))
	} else {
		m.Address = address
	}
	if m.From != "" {
		if m.From, err = message.Address(m.From); err != nil {
			mistakes = append(mistakes, inField(err, "from"))
		}
	}
	mistakes = append(mistakes, checkGrantType(m), checkActsAs(m))
	if m.Receive == nil && m.Send == nil {
		mistakes = append(mistakes, wrong("mailbox.does_nothing", "receive", fmt.Sprintf("The mailbox %s neither receives nor sends.", fault.Shorten(m.Address, 80)), "Give it receive, send, or both."))
	}
	mistakes = append(mistakes, checkReceive(m), checkSend(m))
	ways := fault.Join(mistakes...)
	r, kind, err := known.record(ctx, m.Provider)
	switch {
	case fault.Has(err, "provider.unknown"):
		return fault.Join(ways, b.checkOwn(*m), unknownProvider(ctx, known, m.Provider))
	case err != nil:
		return fault.Join(err, ways)
	case kind == nil: // the provider itself is refused
		return fault.Join(ways, b.checkOwn(*m))
	}
	mistakes = []error{ways, checkProfile(r, m.Profile)}
	receive, send := m.Endpoints(kind, r)
	switch {
	case receive == nil:
	case blames(ways, "receive.protocol"):
		mistakes = append(mistakes, b.checkAlone("receive", m.Receive.Server))
	default:
		mistakes = append(mistakes, b.checkEndpoint(*receive, m.Receive.Server, r.Name))
	}
	switch {
	case send == nil:
	case blames(ways, "send.protocol"):
		mistakes = append(mistakes, b.checkAlone("send", m.Send.Server))
	default:
		mistakes = append(mistakes, b.checkEndpoint(*send, m.Send.Server, r.Name))
	}
	if err := fault.Join(mistakes...); err != nil {
		return err
	}
	if at := m.Fallback(kind, r); at != nil && at.Host == "" {
		return wrong("mailbox.protocol", "send.fallback", fmt.Sprintf("The provider %s has no %s to send by.", r.Name, at.Protocol), "Leave fallback out; mail then waits until it can be sent by smtp.")
	}
	_, err = kind.Resources(r, m.Uses(), m.Profile)
	return err
}

// blames reports whether a field is among those at fault.
func blames(err error, field string) bool {
	return slices.ContainsFunc(fault.All(err), func(f *fault.Error) bool { return f.Field == field })
}

func inField(err error, field string) error {
	f := *fault.Of(err)
	f.Field = field
	return &f
}

func unknownProvider(ctx context.Context, known known, name string) error {
	names, err := known.names(ctx)
	if err != nil {
		return err
	}
	remedy := "Add the provider first; there is none yet."
	if len(names) > 0 {
		remedy = meant(name, names) + "Use " + orList(names) + ", or add the provider first."
	}
	text := fmt.Sprintf("There is no provider called “%s”.", fault.Shorten(name, 60))
	if name == "" {
		text = "The mailbox names no provider."
	}
	return wrong("provider.unknown", "provider", text, remedy)
}

func checkGrantType(m *mailbox.Mailbox) error {
	switch m.GrantType {
	case "":
		m.GrantType = grantAuthorizationCode
	case grantAuthorizationCode:
	case "device_code", "client_credentials":
		return wrong("mailbox.grant_type", "grant_type", fmt.Sprintf("The grant type %s is not offered yet.", m.GrantType), "Use authorization_code: the owner authorises by a link.")
	default:
		return oneOf("mailbox.grant_type", "grant_type", m.GrantType, grantAuthorizationCode)
	}
	return nil
}

func checkActsAs(m *mailbox.Mailbox) error {
	const remedy = "Use owner, or delegate: name@domain for a declared person who opens the mailbox with their own sign-in."
	text := strings.TrimSpace(string(m.ActsAs))
	switch {
	case text == "" || text == "owner":
		m.ActsAs = "owner"
		return nil
	case text == "app":
		return wrong("mailbox.acts_as", "acts_as", "Opening a mailbox as the application itself (app) is not offered yet.", remedy)
	}
	who, ok := strings.CutPrefix(text, "delegate:")
	if !ok {
		return wrong("mailbox.acts_as", "acts_as", fmt.Sprintf("“%s” is not possible here.", fault.Shorten(text, 60)), meant(text, []string{"owner"})+remedy)
	}
	address, err := message.Address(who)
	if err != nil {
		return inField(err, "acts_as")
	}
	if address == m.Address {
		return wrong("mailbox.acts_as", "acts_as", fmt.Sprintf("The delegate %s is the mailbox itself.", address), "Use owner.")
	}
	m.ActsAs = mailbox.ActsAs("delegate: " + address)
	return nil
}

func checkProfile(r provider.Record, name string) error {
	if name == "" {
		return nil
	}
	var names []string
	for _, p := range r.Profiles {
		if p.Name == name {
			return nil
		}
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return wrong("mailbox.profile", "profile", fmt.Sprintf("The provider %s has no profiles.", r.Name), "Leave the profile out; scopes are then derived from what the mailbox does.")
	}
	return oneOf("mailbox.profile", "profile", name, names...)
}

func checkReceive(m *mailbox.Mailbox) error {
	if m.Receive == nil {
		if m.AfterReceive != "" && m.AfterReceive != protocol.DisposeKeep {
			return wrong("mailbox.after_receive", "after_receive", "The mailbox does not receive, so nothing can happen after receiving.", "Leave it out, or give the mailbox receive.")
		}
		return nil
	}
	own := *m.Receive
	m.Receive = &own
	by := protocol.TraitsOf(own.Protocol)
	if !by.Receives {
		return notYet("receive", "Receiving", own.Protocol, protocol.Receivers())
	}
	return fault.Join(checkFolders(&own, by), checkMode(&own, by), checkAfterReceive(m, by))
}

// notYet refuses a protocol by which nothing is received, or sent.
func notYet(setting, doing string, name protocol.Name, offered []protocol.Name) error {
	field := setting + ".protocol"
	if protocol.TraitsOf(name).Title == "" {
		return oneOf("mailbox.protocol", field, name, offered...)
	}
	return wrong("mailbox.protocol", field, fmt.Sprintf("%s by %s is not offered yet.", doing, name), "Use "+orList(texts(offered))+".")
}

func texts[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

func checkMode(own *mailbox.Receive, by protocol.Traits) error {
	if own.Mode == "" {
		if own.Mode = mailbox.ModePush; !by.Push {
			own.Mode = mailbox.ModePoll
		}
	}
	if err := oneOf("mailbox.mode", "receive.mode", own.Mode, mailbox.ModePush, mailbox.ModePoll); err != nil {
		return err
	}
	switch {
	case own.Mode == mailbox.ModePush && !by.Push:
		return wrong("mailbox.mode", "receive.mode", fmt.Sprintf("A server of %s does not tell of new mail: it has to be asked.", by.Title), "Use mode: poll, with every such as 60s, or leave mode out.")
	case own.Mode == mailbox.ModePush && own.Every != 0:
		return wrong("mailbox.every", "receive.every", "A mailbox with mode push is not asked at intervals.", "Leave every out, or use mode: poll.")
	case own.Mode == mailbox.ModePoll && own.Every == 0:
		own.Every = defaultPoll
	case own.Mode == mailbox.ModePoll && (own.Every < shortestPoll || own.Every > longestPoll):
		return wrong("mailbox.every", "receive.every", fmt.Sprintf("Asking every %s is not possible.", briefly(own.Every)), "Use a time between 10s and 24h.")
	}
	return nil
}

// briefly writes a duration without zeros at its end: 48h.
func briefly(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d%time.Hour == 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func checkFolders(own *mailbox.Receive, by protocol.Traits) error {
	if len(own.Folders) == 0 {
		own.Folders = []string{"INBOX"}
	}
	folders := make([]string, 0, len(own.Folders))
	for i, f := range own.Folders {
		f = strings.TrimSpace(f)
		if strings.EqualFold(f, "INBOX") {
			f = "INBOX" // RFC 9051 section 5.1: the one name without case
		}
		field := fmt.Sprintf("receive.folders[%d]", i)
		switch {
		case f == "" || len(f) > 255 || strings.ContainsAny(f, "\r\n\x00*%"):
			return wrong("mailbox.folder", field, fmt.Sprintf("“%s” is not the name of a folder.", fault.Shorten(f, 60)), "Write each folder as the mail server calls it, for example INBOX or INBOX/Orders, without * and %.")
		case slices.Contains(folders, f):
			return wrong("mailbox.folder", field, fmt.Sprintf("The folder %s stands here twice.", f), "Name each folder once.")
		case f != "INBOX" && !by.Folders:
			return wrong("mailbox.folder", field, fmt.Sprintf("%s knows no folders: “%s” cannot be read by it.", by.Title, fault.Shorten(f, 60)), "Name INBOX alone, or leave folders out.")
		}
		folders = append(folders, f)
	}
	if len(folders) > 50 {
		return wrong("mailbox.folder", "receive.folders", fmt.Sprintf("%d folders are more than can be watched.", len(folders)), "Name at most 50 folders.")
	}
	own.Folders = folders
	return nil
}

func checkAfterReceive(m *mailbox.Mailbox, by protocol.Traits) error {
	text := strings.TrimSpace(m.AfterReceive)
	if text == "" {
		text = protocol.DisposeKeep
	}
	target, moves := strings.CutPrefix(text, protocol.DisposeMove+":")
	target = strings.TrimSpace(target)
	act := text
	if moves {
		act = protocol.DisposeMove
	}
	var possible, written []string
	for _, a := range by.AfterReceive {
		if a == protocol.DisposeMove {
			written = append(written, "move: Folder")
			continue
		}
		possible, written = append(possible, a), append(written, a)
	}
	remedy := "Use " + orList(written) + "."
	switch {
	case slices.Contains(possible, text):
		m.AfterReceive = text
		return nil
	case !by.May(act) && protocol.TraitsOf(protocol.Receivers()[0]).May(act):
		return wrong("mailbox.after_receive", "after_receive", fmt.Sprintf("“%s” is not possible with %s.", fault.Shorten(text, 60), by.Title), remedy)
	case !moves:
		return wrong("mailbox.after_receive", "after_receive", fmt.Sprintf("“%s” is not possible here.", fault.Shorten(text, 60)), meant(text, possible)+remedy)
	case target == "" || len(target) > 255 || strings.ContainsAny(target, "\r\n\x00*%"):
		return wrong("mailbox.after_receive", "after_receive", "The folder to move to is missing or is not the name of a folder.", "Write it as move: Processed.")
	case slices.ContainsFunc(m.Receive.Folders, func(f string) bool { return f == target || f == "INBOX" && strings.EqualFold(target, "INBOX") }):
		return wrong("mailbox.after_receive", "after_receive", fmt.Sprintf("Messages cannot be moved to %s, which is itself read.", target), "Name a folder that is not among receive.folders.")
	}
	m.AfterReceive = "move: " + target
	return nil
}

func checkSend(m *mailbox.Mailbox) error {
	if m.Send == nil {
		return nil
	}
	own := *m.Send
	m.Send = &own
	if !protocol.TraitsOf(own.Protocol).Sends {
		return notYet("send", "Sending", own.Protocol, protocol.Senders())
	}
	switch own.Fallback {
	case "", protocol.Graph:
		return nil
	}
	return oneOf("mailbox.protocol", "send.fallback", own.Fallback, protocol.Graph)
}

// checkOwn finds what is wrong with a mailbox's own servers where its provider,
// which would complete them, is not known.
func (b *Mailboxes) checkOwn(m mailbox.Mailbox) error {
	var mistakes []error
	if m.Receive != nil {
		mistakes = append(mistakes, b.checkAlone("receive", m.Receive.Server))
	}
	if m.Send != nil {
		mistakes = append(mistakes, b.checkAlone("send", m.Send.Server))
	}
	return fault.Join(mistakes...)
}

// checkAlone finds what is wrong with a server whatever completes it: what it
// leaves out is taken as right.
func (b *Mailboxes) checkAlone(setting string, own mailbox.Server) error {
	at := protocol.Endpoint{Setting: setting, Host: cmp.Or(own.Host, "localhost"), Port: 1, TLS: cmp.Or(own.TLS, protocol.TLSImplicit)}
	return b.checkEndpoint(at, own, "")
}

// checkEndpoint demands that presets and own settings together say where to
// connect, and that nothing crosses a network in clear.
func (b *Mailboxes) checkEndpoint(at protocol.Endpoint, own mailbox.Server, providerName string) error {
	field := func(name string) string { return at.Setting + "." + name }
	usual := protocol.TraitsOf(at.Protocol)
	var mistakes []error
	add := func(id, name, text, remedy string) { mistakes = append(mistakes, wrong(id, field(name), text, remedy)) }
	switch {
	case at.Host == "":
		add("mailbox.host", "host", fmt.Sprintf("The provider %s has no preset host for %s.", providerName, at.Protocol), "Give the mail server's name here.")
	case strings.ContainsAny(at.Host, "/@ \t\r\n") || len(at.Host) > 253:
		add("mailbox.host", "host", fmt.Sprintf("“%s” is not the name of a host.", fault.Shorten(at.Host, 80)), "Write the name or the address alone: no scheme, no path; the port goes into port.")
	}
	if err := oneOf("mailbox.tls", field("tls"), at.TLS, protocol.TLSImplicit, protocol.TLSStart, protocol.TLSNone); err != nil {
		mistakes = append(mistakes, err)
	} else if at.TLS == protocol.TLSNone && !loopback(at.Host) {
		add("mailbox.tls", "tls", fmt.Sprintf("Without TLS, access tokens would travel to %s in clear.", at.Host), "Use implicit or starttls; none is possible only towards this machine itself (localhost, 127.0.0.1, ::1).")
	} else if mode, ok := contradicting(at); ok {
		add("mailbox.port", "port", fmt.Sprintf("Port %d and tls: %s do not go together: servers speak %s there.", at.Port, at.TLS, mode), fmt.Sprintf("Give port %d with tls: %s, or another tls.", usual.UsualPort(at.TLS), at.TLS))
	}
	if own.Port < 0 || own.Port > 65535 || at.Port == 0 && len(mistakes) == 0 {
		add("mailbox.port", "port", "The port is missing or is no port number.", fmt.Sprintf("Use a number from 1 to 65535; usual are %d with tls: implicit and %d with starttls.", usual.Implicit, usual.StartTLS))
	}
	if strings.ContainsFunc(own.User, func(r rune) bool { return r < 0x20 || r == 0x7f }) || len(own.User) > 320 {
		add("mailbox.user", "user", "The user name holds a control character or is too long.", "Write the name as the mail server knows it, or leave it out for the address.")
	}
	return fault.Join(append(mistakes, checkCA(field("ca_file"), own.CAPEM))...)
}

// contradicting reports the TLS mode that belongs to a well-known port, where
// another one is set.
func contradicting(at protocol.Endpoint) (usual protocol.TLSMode, wrongly bool) {
	switch {
	case at.Port == 993 || at.Port == 995 || at.Port == 465:
		usual = protocol.TLSImplicit
	case (at.Port == 143 || at.Port == 110 || at.Port == 587 || at.Port == 25) && at.TLS == protocol.TLSImplicit:
		usual = protocol.TLSStart
	}
	return usual, usual != "" && at.TLS != usual
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}
