package stock

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

func (f *filler) fillMailboxes() error {
	record, err := document(f.Mailbox, "id", id(mailboxes, "n.i"), "address", address("n.i"))
	if err != nil {
		return err
	}
	err = f.fill(f.Mailboxes, fmt.Sprintf(`INSERT INTO mailboxes (id, address, provider, receives, paused, document, version)
		SELECT %s, %s, %s, %t, %t, %s, 1 FROM n`, id(mailboxes, "n.i"), address("n.i"), literal(f.Provider.Name), f.Mailbox.Receive != nil, f.Paused, record))
	if err != nil {
		return err
	}
	return f.fill(f.Mailboxes, fmt.Sprintf(`INSERT INTO watches (mailbox_id, lease_owner, lease_fence, lease_until, last_mail_at)
		SELECT %s, '', 0, 0, %d FROM n`, id(mailboxes, "n.i"), f.Now.UnixMicro()))
}

// trouble is an expression: what is wrong with mailbox n.i, from 0 to 4; null for nothing.
func (f *filler) trouble() string {
	if f.Trouble == 0 {
		return "CAST(NULL AS BIGINT)"
	}
	return fmt.Sprintf("(CASE WHEN n.i %% %d = %d THEN (n.i / %d) %% 5 ELSE NULL END)", f.Trouble, f.Trouble-1, f.Trouble)
}

func (f *filler) fillGrants() error {
	subject, err := document(provider.Subject{Issuer: f.Provider.Issuer, Subject: marker("id"), Name: marker("address")}, "id", id(mailboxes, "n.i"), "address", address("n.i"))
	if err != nil {
		return err
	}
	wrong, now := f.trouble(), f.Now.UnixMicro()
	cause := func(dead, failing string) string {
		return "CASE " + wrong + " WHEN 0 THEN " + literal(dead) + " WHEN 2 THEN " + literal(failing) + " ELSE '' END"
	}
	spread := time.Hour.Microseconds() / int64(max(1, f.Mailboxes))
	next := fmt.Sprintf("CASE WHEN %s IN (0, 1) THEN 0 ELSE %d + n.i * %d END", wrong, f.Now.Add(time.Hour).UnixMicro(), spread)
	secret := func(i int) (string, []byte) {
		return RefreshToken(i), seal.Where("grant", MailboxID(i), "refresh_token")
	}
	// What was never authorised, or waits in quarantine, has no grant.
	insert := fmt.Sprintf(`INSERT INTO grants (mailbox_id, state, verdict, subject, display, scopes, connected_at, connected_by, refresh_token,
			lease_owner, lease_fence, lease_until, intent_fence, intent_resource, intent_at, next_refresh_at, last_refresh_at, failures,
			cause, cause_text, remedy, secrets_version)
		SELECT %s, CASE %s WHEN 0 THEN 'dead' WHEN 1 THEN 'suspended' ELSE 'active' END, 'match', %s, %s, '["imap","offline_access"]', %d, 'anna', n.sealed,
			'', 1, 0, 0, '', 0, %s, %d, CASE %s WHEN 2 THEN 5 ELSE 0 END, %s, %s, %s, 1 FROM n WHERE %s IS NULL OR %s < 3`,
		id(mailboxes, "n.i"), wrong, subject, address("n.i"), f.Now.Add(-span).UnixMicro(), next, now, wrong,
		cause("oauth.invalid_grant", "net.refused"), cause("The authorization server no longer honours the grant.", "The authorization server refuses connections."),
		cause("Send the mailbox owner a new authorization link.", "Wait, or see whether the server runs."), wrong, wrong)
	if err := f.fillSealed(f.Sealed, f.Mailboxes, secret, insert); err != nil {
		return err
	}
	return f.fill(f.Mailboxes, fmt.Sprintf(`INSERT INTO quarantines (mailbox_id, subject, display, verdict, scopes, connected_by, created_at, expires_at, next_try_at, tries, cause, cause_text)
		SELECT %s, %s, %s, 'match', '["imap"]', 'anna', %d, %d, %d, 3, 'net.refused', 'The mail server refuses connections.' FROM n WHERE %s = 4`,
		id(mailboxes, "n.i"), subject, address("n.i"), now, f.Now.Add(12*time.Hour).UnixMicro(), f.Now.Add(6*time.Hour).UnixMicro(), wrong))
}

func (f *filler) fillAccess() error {
	secret := func(i int) (string, []byte) {
		return AccessToken(i), seal.Where("access_token", MailboxID(i), provider.ResourceMail)
	}
	return f.fillSealed(f.Sealed, f.Mailboxes, secret, fmt.Sprintf(`INSERT INTO access_tokens (mailbox_id, resource, sealed, scopes, obtained_at, expires_at)
		SELECT %s, %s, n.sealed, '["imap"]', %d, %d FROM n`,
		id(mailboxes, "n.i"), literal(provider.ResourceMail), f.Now.UnixMicro(), f.Now.Add(2*time.Hour).UnixMicro()))
}

func (f *filler) fillEvents() error {
	about := f.about()
	// Not n.i alone: a mailbox would have events of one kind only.
	chosen := fmt.Sprintf("((n.i + n.i / %d) %% 100)", max(1, f.Mailboxes))
	kind := func(k event.Kind) string { return literal(string(k)) }
	data, err := document(map[string]string{"message_id": marker("id"), "folder": "INBOX", "from": "somebody@example.net", "subject": "Ticket " + marker("i") + ": the printer on the second floor is out of paper again"},
		"id", id(messages, "n.i"), "i", "CAST(n.i AS TEXT)")
	if err != nil {
		return err
	}
	err = f.fill(f.Events, fmt.Sprintf(`INSERT INTO events (position, id, at, kind, mailbox_id, mailbox, actor_kind, actor_name, cause, text, remedy, data)
		SELECT n.i + 2, %s, %s, %s, %s, %s, 'system', '', %s, %s, '', %s FROM n`,
		id(events, "n.i"), f.when(f.Events),
		cases(chosen, kind(event.FetchStopped), 50, kind(event.MessageReceived), 75, kind(event.GrantRefreshed), 85, kind(event.SubmissionAccepted), 95, kind(event.SubmissionSent),
			97, kind(event.MailboxTested), 98, kind(event.GrantRefreshFailed), 99, kind(event.FetchResumed)),
		id(mailboxes, about), address(about), cases(chosen, "'net.refused'", 99, "''"),
		literal("Something happened to "+marker("a")+" as it does some hundred times a day.", "a", address(about)), data))
	if err != nil {
		return err
	}
	_, err = f.db.ExecContext(f.ctx, "INSERT INTO event_hours (hour, kind, number) SELECT at / 3600000000, kind, COUNT(*) FROM events WHERE true GROUP BY 1, 2 "+
		"ON CONFLICT (hour, kind) DO UPDATE SET number = excluded.number")
	return err
}

const body = "Good morning,\r\n\r\nthe printer on the second floor is out of paper again, and the one on the third floor prints everything twice.\r\n" +
	"Could somebody have a look before the meeting at ten? The report has to be on paper by then.\r\n\r\nKind regards\r\nAdele\r\n"

func (f *filler) fillMessages() error {
	from, to := message.Party{Name: "Adele Vance", Address: "adele@example.net"}, message.Party{Address: marker("a")}
	parsed, err := document(message.Parsed{
		MessageID: marker("i") + "@example.net", Date: f.Now, Subject: "Ticket " + marker("i") + ": the printer is out of paper", From: []message.Party{from}, To: []message.Party{to},
		Text: strings.Repeat(body, 3), HTML: "<p>" + body + "</p>",
	}, "a", address(f.about()), "i", "CAST(n.i AS TEXT)")
	if err != nil {
		return err
	}
	raw := "From: Adele Vance <adele@example.net>\r\nTo: desk@example.org\r\nSubject: the printer is out of paper\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\n" + body
	when := f.when(f.Messages)
	err = f.fill(f.Messages, fmt.Sprintf(`INSERT INTO messages (id, mailbox_id, folder, uid_validity, uid, remote_id, received_at, flags, size, digest, parsed, expires_at)
		SELECT %s, %s, 'INBOX', 1, n.i + 1, '', %s, '[]', %d, %s, %s, %s + %d FROM n`,
		id(messages, "n.i"), id(mailboxes, f.about()), when, len(raw), f.digest(), parsed, when, (2*span).Microseconds()))
	if err != nil {
		return err
	}
	brief, err := document(message.Parsed{MessageID: marker("i") + "@example.net", Date: f.Now, Subject: "Ticket " + marker("i") + ": the printer is out of paper", From: []message.Party{from}},
		"i", "CAST(n.i AS TEXT)")
	if err != nil {
		return err
	}
	err = f.fill(f.Messages, fmt.Sprintf("INSERT INTO message_heads (message_id, event_id, disposed, summary, search) SELECT %s, '', '', %s, %s FROM n",
		id(messages, "n.i"), brief, literal("ticket "+marker("i")+": the printer is out of paper\nadele vance\nadele@example.net", "i", "CAST(n.i AS TEXT)")))
	if err != nil {
		return err
	}
	return f.fill(f.Messages, fmt.Sprintf("INSERT INTO message_pieces (message_id, number, bytes) SELECT %s, 0, %s FROM n", id(messages, "n.i"), f.raw(raw)))
}

func (f *filler) fillSubmissions() error {
	envelope, err := document(message.Envelope{ReversePath: marker("a"), ForwardPaths: []string{"somebody@example.net"}}, "a", address(f.about()))
	if err != nil {
		return err
	}
	raw := "Subject: Re: the printer\r\n\r\n" + body
	when, later := f.when(f.Submissions), f.Now.Add(12*time.Hour).UnixMicro()
	state := "(n.i % 100)"
	waiting := func(value, otherwise string) string { return cases(state, otherwise, 1, value) }
	err = f.fill(f.Submissions, fmt.Sprintf(`INSERT INTO submissions (id, mailbox_id, mailbox, caller, idempotency_key, envelope, message_id, subject, size, state,
			possibly_duplicated, attempts, lease_owner, lease_fence, lease_until, in_data, due_at, next_attempt_at, expires_at, created_at, settled_at,
			reply, cause, cause_text, remedy)
		SELECT %s, %s, %s, 'api_key:desk', CAST(n.i AS TEXT), %s, CAST(n.i AS TEXT) || '@example.org', 'Re: Ticket ' || CAST(n.i AS TEXT), %d, %s,
			FALSE, 1, '', 1, 0, FALSE, %s, %s, %s + %d, %s, %s, '250 2.0.0 queued', %s, %s, '' FROM n`,
		id(submissions, "n.i"), id(mailboxes, f.about()), address(f.about()), envelope, len(raw),
		cases(state, "'sent'", 1, "'queued'", 3, "'failed'", 4, "'expired'"), waiting(strconv.FormatInt(later, 10), "0"), waiting(strconv.FormatInt(later, 10), when),
		when, (5*24*time.Hour).Microseconds(), when, waiting("0", when), cases(state, "''", 1, "'net.refused'", 3, "'smtp.recipient_unknown'"),
		cases(state, "''", 1, "'The mail server refuses connections.'", 3, "'The mail server does not know the recipient.'")))
	if err != nil {
		return err
	}
	return f.fill(f.Submissions, fmt.Sprintf("INSERT INTO submission_pieces (submission_id, number, bytes) SELECT %s, 0, %s FROM n", id(submissions, "n.i"), f.raw(raw)))
}

func (f *filler) fillWebhooks() error {
	record, err := document(webhook.Webhook{
		ID: marker("id"), Name: "desk-" + marker("i"), URL: "https://desk" + marker("i") + ".example.org/hook", Events: []event.Pattern{"message.received", "submission.*"},
		Version: 1, CreatedAt: f.Now.Add(-span), UpdatedAt: f.Now.Add(-span),
	}, "id", id(webhooks, "n.i"), "i", "CAST(n.i AS TEXT)")
	if err != nil {
		return err
	}
	secret, err := f.keys.Seal(seal.NewSecret("whsec_c2VjcmV0IG9mIGEgd2ViaG9vaywgd2hpY2ggb25seSB0ZXN0cyB1c2U="), seal.Where("nowhere"))
	if err != nil {
		return err
	}
	return f.fill(f.Webhooks, fmt.Sprintf("INSERT INTO webhooks (id, name, document, secret, disabled, version) SELECT %s, 'desk-' || CAST(n.i AS TEXT), %s, %s, '', 1 FROM n",
		id(webhooks, "n.i"), record, f.blob(secret.Bytes())))
}

// fillDeliveries spreads the newest events over the webhooks. Of a hundred, two
// wait for a time to come and one is parked; a queue whose head waits is due then.
func (f *filler) fillDeliveries() error {
	if f.Webhooks == 0 || f.Deliveries == 0 {
		return nil
	}
	n := fmt.Sprintf("(n.i + %d)", f.Events-f.Deliveries) // the event's number
	about := strings.ReplaceAll(f.about(), "n.i", n)
	hook := id(webhooks, fmt.Sprintf("(n.i / 7 %% %d)", f.Webhooks))
	later, state := f.Now.Add(12*time.Hour).UnixMicro(), "(n.i / 3 % 100)"
	when := f.Now.Add(-span).UnixMicro()
	err := f.fill(f.Deliveries, fmt.Sprintf(`INSERT INTO deliveries (id, webhook_id, mailbox_id, sequence, event_id, attempts, lease_owner, lease_fence, lease_until, state, state_since,
			next_attempt_at, first_tried_at, created_at, last_status, last_error)
		SELECT %s, %s, %s, n.i + 1, %s, 1, '', 1, 0, %s, %d, %s, %d, %d + n.i, %s, %s FROM n`,
		id(deliveries, "n.i"), hook, id(mailboxes, about), id(events, n), cases(state, "'delivered'", 2, "'pending'", 3, "'parked'"), f.Now.UnixMicro(),
		cases(state, strconv.FormatInt(when, 10), 2, strconv.FormatInt(later, 10)), when, when,
		cases(state, "200", 2, "503", 3, "500"), cases(state, "''", 3, "'The receiver answers that something is wrong with it.'")))
	if err != nil {
		return err
	}
	_, err = f.db.ExecContext(f.ctx, fmt.Sprintf(`INSERT INTO delivery_queues (webhook_id, mailbox_id, last_sequence, head_due_at, leased_delivery, leased_until)
		SELECT webhook_id, mailbox_id, MAX(sequence), MAX(CASE WHEN state = 'pending' THEN %d ELSE 0 END), '', 0 FROM deliveries GROUP BY webhook_id, mailbox_id`, later))
	return err
}
