package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// probeTime bounds one probe, from name look-up to the opened mailbox.
const probeTime = 45 * time.Second

// callbackProbeTime bounds the probe that a browser waits for. A mail server
// that takes longer is asked again from quarantine.
const callbackProbeTime = 10 * time.Second

// door is where the expected mailbox is tried: where it receives, else where it
// sends.
type door struct {
	at     protocol.Endpoint
	user   string
	prober protocol.Prober
}

func (l *Links) door(kind provider.Kind, r provider.Record, m mailbox.Mailbox) (door, error) {
	receive, send := m.Endpoints(kind, r)
	d := door{user: m.Address}
	switch {
	case receive != nil:
		d.at, d.user = *receive, m.UserAt(m.Receive.Server)
	case send != nil:
		d.at, d.user = *send, m.UserAt(m.Send.Server)
	default:
		return d, errors.New("connect: the mailbox neither receives nor sends")
	}
	if d.prober = l.needs.Probes(d.at.Protocol); d.prober == nil {
		return d, fmt.Errorf("connect: there is no probe for the protocol %q", d.at.Protocol)
	}
	return d, nil
}

// probe opens the mailbox with an access token. A definite no is a refusal of
// this sign-in or of this mailbox. Everything before (names, TLS, greeting) says
// nothing about the mailbox, and neither does a server that is busy, or that
// knows the person but does not connect them yet: rights given just now take a
// while to reach every server.
func (d door) probe(ctx context.Context, accessToken seal.Secret) (ProbeResult, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	failed := ""
	err := d.prober.Probe(ctx, d.at, protocol.Login{User: d.user, AccessToken: accessToken}, func(s protocol.Step) {
		if !s.OK && !s.Skipped {
			failed = s.Name
		}
	})
	if err == nil {
		return ProbeOpened, nil
	}
	f := fault.Of(err)
	if ctx.Err() != nil {
		if f.Kind == fault.Internal {
			err = d.slow(err)
		}
		return ProbeUndecided, err
	}
	switch failed {
	case "auth", "open", "mail_from":
	default:
		return ProbeUndecided, err
	}
	switch f.Kind {
	case fault.Refused, fault.Dead, fault.Forbidden, fault.Unauthenticated, fault.NotFound, fault.Invalid:
		return ProbeRefused, err
	}
	return ProbeUndecided, err
}

// promptly probes while a browser waits.
func (d door) promptly(ctx context.Context, accessToken seal.Secret) (ProbeResult, error) {
	ctx, cancel := context.WithTimeout(ctx, callbackProbeTime)
	defer cancel()
	return d.probe(ctx, accessToken)
}

func (d door) slow(err error) error {
	return &fault.Error{
		ID: "connect.probe_slow", Kind: fault.Temporary, Retry: true, Field: d.at.Field("host"), Err: err,
		Text: fmt.Sprintf("The mail server %s did not answer in time.", d.at.Host), Who: []fault.Who{fault.MailAdmin, fault.Operator},
		Remedy: "Check that host and port are right and that the mail server is not overloaded.",
	}
}
