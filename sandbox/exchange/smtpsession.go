package exchange

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// smtpSession is what one submission connection may do. Data may run on
// another goroutine (BDAT) while the library resets the session.
type smtpSession struct {
	x       *Exchange
	dialect *smtpDialect
	hello   string

	mu       sync.Mutex
	signedIn bool
	who      Principal
	mailbox  Mailbox
	asked    string
	reason   string // why the mailbox will not open; "" if it will
	from     string
	to       []string
}

var _ smtp.AuthSession = (*smtpSession)(nil)

func (x *Exchange) newSMTPServer() *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &smtpSession{x: x, dialect: c.Conn().(*smtpDialect), hello: c.Hostname()}, nil
	}))
	s.Domain = x.opts.Hostname
	s.MaxMessageBytes = MaxMessageBytes
	s.MaxLineLength = maxCommandLine // an access token is one line
	s.ReadTimeout = 5 * time.Minute  // RFC 5321 section 4.5.3.2.7
	s.WriteTimeout = time.Minute
	s.EnableSMTPUTF8 = true
	s.AllowInsecureAuth = true // the library sees no TLS, because the dialect is above it
	s.ErrorLog = serverLog{log: x.opts.Logger, protocol: "smtp"}
	return s
}

// smtpReply makes an error of a whole reply line, "535 5.7.3 text".
func smtpReply(line string) *smtp.SMTPError {
	reply := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.NoEnhancedCode, Message: line}
	code, rest, ok := strings.Cut(line, " ")
	if n, err := strconv.Atoi(code); ok && err == nil && n >= 200 && n < 600 {
		reply.Code, reply.Message = n, rest
	}
	status, rest, _ := strings.Cut(reply.Message, " ")
	var enhanced smtp.EnhancedCode
	parts := strings.Split(status, ".")
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if len(parts) != 3 || err != nil || n < 0 {
			return reply
		}
		enhanced[i] = n
	}
	reply.EnhancedCode, reply.Message = enhanced, rest
	return reply
}

func (s *smtpSession) nameLocked() string {
	if s.mailbox.Address != "" {
		return s.mailbox.Address
	}
	return s.asked
}

// answer records a command with its reply and returns the reply as an error;
// success is "250 ..." and gives nil. Callers hold the lock.
func (s *smtpSession) answerLocked(command, reply, reason string) error {
	s.x.dir.Record(Call{
		At: s.x.dir.Now(), Protocol: "smtp", Mailbox: s.nameLocked(), UPN: s.who.UPN,
		Command: command, Reply: reply, Reason: reason,
	})
	if strings.HasPrefix(reply, "2") {
		return nil
	}
	return smtpReply(reply)
}

// Reset implements [smtp.Session].
func (s *smtpSession) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from, s.to = "", nil
}

// Logout implements [smtp.Session].
func (s *smtpSession) Logout() error { return nil }

// AuthMechanisms implements [smtp.AuthSession].
func (s *smtpSession) AuthMechanisms() []string { return []string{"LOGIN", "XOAUTH2"} }

// Auth implements [smtp.AuthSession].
func (s *smtpSession) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case "XOAUTH2":
		return xoauth2Server(s.signIn), nil
	case "LOGIN":
		return &loginServer{done: s.password}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil, s.answerLocked("AUTH "+mechanism, "504 5.7.4 Unrecognized authentication type", "")
}

func (s *smtpSession) unsuccessful() string {
	return "535 5.7.3 Authentication unsuccessful [" + s.x.opts.Hostname + "]"
}

func (s *smtpSession) password() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answerLocked("AUTH LOGIN", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "")
}

func (s *smtpSession) signIn(response []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const command = "AUTH XOAUTH2"
	asked, raw, err := ParseXOAUTH2(response)
	if err != nil {
		return s.answerLocked(command, s.unsuccessful(), err.Error())
	}
	s.asked = asked
	if fault := s.x.dir.Fault(FaultSMTPAuth, asked); fault.Active {
		return s.answerLocked(command, orElse(fault.Reply, s.unsuccessful()), "fault "+string(FaultSMTPAuth))
	}
	who, err := s.x.principal(raw, smtpPermission)
	if err != nil {
		return s.answerLocked(command, s.unsuccessful(), err.Error())
	}
	mailbox, found := s.x.dir.Mailbox(asked)
	if !found {
		return s.answerLocked(command, s.unsuccessful(), "there is no mailbox "+asked)
	}
	switch mailbox.SubmissionAuth {
	case SubmissionAuthOffForMailbox:
		return s.answerLocked(command, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.", "")
	case SubmissionAuthOffForTenant:
		return s.answerLocked(command, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.", "")
	}
	s.dialect.claim(mailbox.Address, 0)
	s.signedIn, s.who, s.mailbox = true, who, mailbox
	s.reason = s.x.opens(who, asked, mailbox, found)
	return s.answerLocked(command, "235 2.7.0 Authentication successful", s.reason)
}

// loginServer hears a user name and a password, and refuses them.
type loginServer struct {
	step int
	done func() error
}

// Next implements [sasl.Server].
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step == 0 && response != nil {
		l.step++ // the name came with the command
	}
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		return []byte("Password:"), false, nil
	}
	return nil, true, l.done()
}

const rateExceeded = "421 4.4.2 Message submission rate for this client has exceeded the configured limit"

// Mail implements [smtp.Session].
func (s *smtpSession) Mail(from string, _ *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	command := "MAIL FROM:<" + from + ">"
	if !s.signedIn {
		return s.answerLocked(command, "530 5.7.57 Client not authenticated to send mail.", "")
	}
	if fault := s.x.dir.Fault(FaultSMTPThrottled, s.mailbox.Address); fault.Active {
		return s.answerLocked(command, orElse(fault.Reply, rateExceeded), "fault "+string(FaultSMTPThrottled))
	}
	if fault := s.x.dir.Fault(FaultSMTPMail, s.mailbox.Address); fault.Active {
		return s.answerLocked(command, orElse(fault.Reply, "451 4.7.0 Temporary server error. Please try again later. PRX2"), "fault "+string(FaultSMTPMail))
	}
	if s.x.submissions(s.mailbox.Address, false) >= MaxMessagesPerMinute {
		return s.answerLocked(command, rateExceeded, "")
	}
	s.from, s.to = from, nil
	return s.answerLocked(command, "250 2.1.0 Sender OK", "")
}

// Rcpt implements [smtp.Session].
func (s *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	command := "RCPT TO:<" + to + ">"
	if len(s.to) >= MaxRecipients {
		return s.answerLocked(command, "452 4.5.3 Too many recipients", "")
	}
	if _, found := s.x.dir.Mailbox(to); !found && s.x.dir.HostsDomain(domainOf(to)) {
		return s.answerLocked(command, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient "+to+" not found by SMTP address lookup", "")
	}
	s.to = append(s.to, to)
	return s.answerLocked(command, "250 2.1.5 Recipient OK", "")
}

// Data implements [smtp.Session].
func (s *smtpSession) Data(r io.Reader) error {
	s.mu.Lock()
	from, to := s.from, s.to
	s.mu.Unlock()
	raw, err := io.ReadAll(io.LimitReader(r, MaxMessageBytes+1))
	if err == nil && len(raw) > MaxMessageBytes {
		err = smtp.ErrDataTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		var reply *smtp.SMTPError
		if errors.As(err, &reply) {
			return s.answerLocked("DATA", "552 5.3.4 Message size exceeds fixed maximum message size", "")
		}
		return fmt.Errorf("message not received whole: %w", err)
	}
	reply, reason := s.submitLocked(submission{
		from: from, to: to, raw: crlf(raw), hello: s.hello, who: s.who, mailbox: s.mailbox,
	})
	if strings.HasPrefix(reply, "250") {
		if fault := s.x.dir.Fault(FaultSMTPDataBeforeReply, s.mailbox.Address); fault.Active {
			_ = s.answerLocked("DATA", "", "fault "+string(FaultSMTPDataBeforeReply))
			s.dialect.cut()
			return io.ErrClosedPipe
		}
	}
	if err := s.answerLocked("DATA", reply, reason); err != nil {
		return err
	}
	return smtpReply(reply) // the library's own text for success would be another
}
