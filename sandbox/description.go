package sandbox

import (
	"net"
	"strconv"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// Description says everything that one needs to use a sandbox: where it listens and which made-up people and apps there are. It
// holds passwords and secrets, which are made up too and open nothing else.
type Description struct {
	// Notice says what this is, to whoever finds it in a log.
	Notice string `json:"notice"`
	// BaseURL is the sign-in host over plain HTTP, for browsers; TLSURL the same over HTTPS, for libraries that insist. The page
	// at BaseURL shows who is signed in to a browser, and signs people in and out without any app.
	BaseURL string `json:"base_url"`
	TLSURL  string `json:"tls_url"`
	// Issuer, Discovery, Authorize and Token are those of the story's first tenant, over plain HTTP.
	Issuer    string `json:"issuer"`
	Discovery string `json:"discovery_endpoint"`
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	Logout    string `json:"end_session_endpoint"`
	// GraphURL is what stands for https://graph.microsoft.com.
	GraphURL string `json:"graph_url"`
	// IMAP and POP3 speak TLS from the first byte, SMTP after STARTTLS.
	IMAP Endpoint `json:"imap"`
	POP3 Endpoint `json:"pop3"`
	SMTP Endpoint `json:"smtp"`
	// ControlURL and ControlKey are for the control API: send the key as "Authorization: Bearer …".
	ControlURL string `json:"control_url"`
	ControlKey string `json:"control_key"`
	// CertificateAuthority is in PEM.
	CertificateAuthority string `json:"certificate_authority"`

	Tenants       []directory.Tenant       `json:"tenants"`
	Users         []directory.User         `json:"users"`
	Registrations []directory.Registration `json:"app_registrations"`
	Mailboxes     []directory.Mailbox      `json:"mailboxes"`
}

// Endpoint is where a mail protocol is spoken.
type Endpoint struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	// TLS is "implicit" or "starttls".
	TLS string `json:"tls"`
}

// Address is host and port, joined.
func (e Endpoint) Address() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// Describe tells where the sandbox listens and who is in it now.
func (s *Sandbox) Describe() Description {
	d := Description{
		Notice:  "A sandbox with made-up people. Its passwords and secrets open nothing else.",
		BaseURL: "http://" + s.listeners.http.Addr().String(), TLSURL: "https://" + s.listeners.tls.Addr().String(),
		IMAP: endpoint(s.listeners.imap, "implicit"), POP3: endpoint(s.listeners.pop3, "implicit"), SMTP: endpoint(s.listeners.smtp, "starttls"),
		ControlKey: s.controlKey, CertificateAuthority: string(s.CertificateAuthority()),
		Tenants: s.world.Tenants(), Users: s.world.Users(), Registrations: s.world.Registrations(), Mailboxes: s.world.Mailboxes(),
	}
	d.GraphURL, d.ControlURL = d.BaseURL, d.BaseURL+controlPrefix
	if len(d.Tenants) > 0 {
		here := d.BaseURL + "/" + d.Tenants[0].ID
		d.Issuer, d.Discovery = here+"/v2.0", here+"/v2.0/.well-known/openid-configuration"
		d.Authorize, d.Token, d.Logout = here+"/oauth2/v2.0/authorize", here+"/oauth2/v2.0/token", here+"/oauth2/v2.0/logout"
	}
	return d
}

func endpoint(listener net.Listener, tlsMode string) Endpoint {
	out := Endpoint{TLS: tlsMode}
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		out.Host, out.Port = address.IP.String(), address.Port
	}
	return out
}
