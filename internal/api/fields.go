package api

import "maps"

// field is what a member of a document means, and an example of it.
type field struct {
	text    string
	example any
}

// fields are the members of all documents, by name; "Schema.name" where one
// schema means something of its own, "?name" for parameters. A description that
// stands beside the member in the code comes first.
func fields() map[string]field {
	all := resourceFields()
	maps.Copy(all, mailFields())
	return all
}

// any of several values, as JSON has them.
type list = []any

// resourceFields are those of parameters, of all documents, and of resources.
func resourceFields() map[string]field {
	const (
		desk, adele = "servicedesk@contoso.example", "adele@contoso.example"
		soon, later = "2026-11-24T09:30:00Z", "2026-11-24T10:30:00Z"
		id          = "0193d3a1-6b3c-7c2e-9a51-2f0d8b7c4e10"
	)
	return map[string]field{
		"?name":          {"The resource's name.", "contoso"},
		"?address":       {"The mailbox's address, percent-encoded; compared without case.", desk},
		"?id":            {"Its id, from the list or from the answer that made it.", id},
		"?n":             {"The attachment's number, from 0.", 0},
		"?limit":         {"How many items at most.", 50},
		"?cursor":        {"The previous page's next; left out for the first page.", id},
		"?mailbox":       {"The address of one mailbox; left out: every one that the API key may see.", desk},
		"?kind":          {"Kinds, families such as submission.*, or *; several are separated by commas.", list{"submission.*"}},
		"?after":         {"When following: only events after this id; 0 for all there are.", id},
		"?since":         {"", soon},
		"?until":         {"", later},
		"?text":          {"", "printer"},
		"?state":         {"", list{"queued"}},
		"?actor":         {"", list{"operator:anna"}},
		"?attention":     {"", true},
		"?Last-Event-ID": {"When following: the id of the last event that was seen. It comes before after.", id},

		"id":           {"Its ID. IDs sort by time.", id},
		"name":         {"Small letters, digits, and . _ -, beginning with a letter or digit; at most 63.", "contoso"},
		"mailbox":      {"The mailbox's address.", desk},
		"address":      {"A mail address.", desk},
		"mailboxes":    {"Addresses; none: every mailbox.", list{desk}},
		"created_at":   {"When it was made.", soon},
		"updated_at":   {"When it was last changed.", soon},
		"created_by":   {"Who made it.", "anna"},
		"expires_at":   {"When it ends.", later},
		"cause":        {"Why, as the name of the fault; /docs lists them.", nil},
		"text":         {"The same in a sentence, for people.", nil},
		"remedy":       {"What to do next.", nil},
		"who":          {"Who has to act.", nil},
		"retry":        {"Mailgrant tries again by itself.", false},
		"signed_in":    {"Who signed in, as the provider names them.", desk},
		"verdict":      {"How the expected mailbox and who signed in agree.", "match"},
		"size":         {"In bytes.", 4210},
		"subject":      {"The subject line.", "The printer is on fire"},
		"message_id":   {"The Message-ID, without brackets.", "1732440600.4711@contoso.example"},
		"failures":     {"How many renewals in a row have failed.", 0},
		"items":        {"The page.", nil},
		"ca_pem":       {"Certificates to trust beside the system's, as PEM: for private servers.", nil},
		"port":         {"Left out: the protocol's own.", 993},
		"host":         {"Left out: the provider's, where it is known.", "imap.contoso.example"},
		"user":         {"The name to sign in with, where it is not the address.", nil},
		"tls":          {"How the connection is protected; none is possible on the server's own host only.", nil},
		"protocol":     {"The mail protocol.", nil},
		"scopes":       {"OAuth scopes.", list{"https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"}},
		"resource":     {"What the access token opens.", "mail"},
		"issuer":       {"The authorization server's issuer.", "https://login.example/tenant/v2.0"},
		"tenant_id":    {"The provider's id of the organisation.", "9f1c2d3e-4b5a-6c7d-8e9f-0a1b2c3d4e5f"},
		"object_id":    {"The provider's lasting id of the person.", "5d2e1f3a-7b8c-4d9e-a0b1-c2d3e4f5a6b7"},
		"content_type": {"The media type.", "application/pdf"},
		"content_id":   {"For files shown inside the HTML, which refers to them as cid:…", nil},
		"filename":     {"The file's name.", "invoice.pdf"},

		"last_refresh_at": {"When the access token was last renewed.", soon},
		"next_refresh_at": {"When it is renewed next.", later},
		"grant_type":      {"How consent is given.", "authorization_code"},

		"Actor.kind": {"What sort of party it was.", "api_key"},
		"Actor.name": {"An operator's or app's name, a uid, or the address that signed in.", "desk"},

		"App.name":       {"The program's name: small letters, digits, and . _ -; at most 64.", "desk"},
		"App.may":        {"What it may do: read, send, token, manage.", list{"read", "send"}},
		"App.networks":   {"From where it may call; none: from everywhere.", list{"10.1.0.0/16"}},
		"App.expires_at": {"When the API key ends; left out: never.", "2027-11-24T00:00:00Z"},
		"App.api_key":    {"", "mgk_…"},

		"Authorize.prompt":       {"What the provider is asked to show: login asks for the password again, select_account for the account, omit leaves it to the provider.", "login"},
		"ClientSecret.id":        {"", id},
		"ClientSecret.value":     {"The client secret. It goes in and never comes out.", nil},
		"Detail.code":            {"The OAuth error, SMTP enhanced status or IMAP response code.", "invalid_grant"},
		"Detail.subcode":         {"The suberror, or a number of the provider's own.", "50173"},
		"Detail.reply":           {"The server's own words, shortened.", "The grant was revoked."},
		"Detail.trace_id":        {"For the provider's support.", nil},
		"Detail.correlation_id":  {"For the provider's support.", nil},
		"Detail.timestamp":       {"As the provider wrote it.", nil},
		"Detail.at":              {"When it said so.", soon},
		"Envelope.reverse_path":  {"Where bounces go.", desk},
		"Envelope.forward_paths": {"Where the message goes.", list{adele}},

		"Event.at":          {"When it happened.", soon},
		"Event.kind":        {"What happened: family and act.", "submission.sent"},
		"Event.actor":       {"Who caused it.", nil},
		"Event.text":        {"What happened, in one sentence.", "The message to adele@contoso.example was sent."},
		"Event.data":        {"Details, such as submission_id or message_id.", tree{"submission_id": id}},
		"Data.event_id":     {"The event's ID.", id},
		"Data.actor":        {"Who caused it.", nil},
		"Data.text":         {"What happened, in one sentence.", "The message to adele@contoso.example was sent."},
		"Data.details":      {"Details, such as submission_id or message_id.", tree{"submission_id": id}},
		"Payload.type":      {"The kind of the event.", "submission.sent"},
		"Payload.data":      {"The event.", nil},
		"Payload.timestamp": {"When it happened.", soon},
		"FieldError.field":  {"The field at fault, as the document spells it.", "receive.port"},
		"FieldError.detail": {"What is wrong with it.", "expected integer"},
		"FieldError.remedy": {"What is allowed there.", nil},
		"File.content":      {"The bytes, in base64.", "JVBERi0xLjcK"},
		"Finding.id":        {"Its name.", "inspect.other_person"},
		"Finding.text":      {"What is wrong.", "The token is of another person than the mailbox expects."},

		"Grant.state":         {"Where the grant stands.", "active"},
		"Grant.identity":      {"The lasting identity of who signed in.", nil},
		"Grant.connected_at":  {"When the owner authorised the mailbox.", soon},
		"Grant.connected_by":  {"Who made the authorization link.", "anna"},
		"Grant.access_tokens": {"Until when each access token is good.", nil},
		"Grant.quarantine":    {"An authorization that waits to be verified.", nil},
		"Grant.history":       {"The newest events of the grant.", nil},

		"InspectRequest.token":      {"An access token, ID token, XOAUTH2 response, or an answer of a token endpoint.", "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"},
		"LinkRequest.expires_in":    {"", "72h"},
		"LinkRequest.allow_subject": {"", nil},
		"LinkState.state":           {"Where it stands; refused: its attempts are used up.", "pending"},
		"LinkState.attempts":        {"How many attempts were made, of 5.", 0},
		"LinkState.last_attempt":    {"How the last attempt ended.", nil},
		"NewLink.url":               {"", "https://mail.contoso.example/authorize/…"},
		"SetupLink.url":             {"", "https://mail.contoso.example/setup/…"},

		"Operator.last_signed_in_at": {"When they last signed in.", soon},
		"Operator.name":              {"", "anna"},
		"Session.signed_in_at":       {"When they signed in.", soon},
		"Session.last_seen_at":       {"", soon},
		"Message.event_id":           {"The ID of the event that tells of it.", id},

		"Mailbox.provider":           {"The name of its provider.", "contoso"},
		"Mailbox.profile":            {"A profile of the provider; left out: the scopes follow from what the mailbox does.", nil},
		"Mailbox.acts_as":            {"", "owner"},
		"Mailbox.from":               {"The sender, where it is not the address.", nil},
		"Mailbox.allow_unverifiable": {"Accept a person of whom nothing proves who they are.", nil},
		"Mailbox.receive":            {"How mail is received; left out: it is not.", nil},
		"Mailbox.send":               {"How mail is sent; left out: it is not.", nil},
		"Mailbox.after_receive":      {"", "keep"},
		"Mailbox.paused":             {"It neither receives nor sends; the grant is kept alive.", nil},
		"Mailbox.status":             {"Where it stands.", nil},
		"MailboxStatus.grant":        {"Where its grant stands; none: it was never authorised.", "active"},
		"MailboxStatus.quarantined":  {"An authorization waits to be verified.", nil},
		"MailboxStatus.last_mail_at": {"When the last message arrived.", soon},

		"Message.folder":       {"The folder in which it was found.", "INBOX"},
		"Message.uid":          {"The mail server's number of it.", 4711},
		"Message.uid_validity": {"The mail server's number of the folder.", 1732440000},
		"Message.received_at":  {"When it was received here.", soon},
		"Message.expires_at":   {"When it is removed here.", "2026-12-24T09:30:00Z"},
		"Message.parsed":       {"Its readable form.", nil},

		"Outcome.attempt_id": {"The attempt's ID, as the page shows it.", id},
		"Outcome.at":         {"When it ended.", soon},
		"Outcome.ok":         {"The mailbox is connected.", true},
		"Outcome.expected":   {"Whose sign-in was expected.", desk},
		"Outcome.reference":  {"The provider's correlation id.", nil},
		"Outcome.subject":    {"For allow_subject, where an operator may allow this person.", nil},
		"Outcome.text":       {"How it ended, in one sentence.", "servicedesk@contoso.example is connected."},

		"Party.name":    {"The display name.", "Adele Vance"},
		"Party.address": {"The address.", adele},
		"Part.index":    {"Its number, from 0.", 0},
		"Part.inline":   {"It is shown inside the HTML.", nil},
	}
}

// mailFields are those of mail, of diagnosis and of the rest.
func mailFields() map[string]field {
	const desk = "servicedesk@contoso.example"
	return map[string]field{
		"date":        {"As the sender's program wrote it.", "2026-11-24T09:29:58Z"},
		"from":        {"Who wrote it.", nil},
		"sender":      {"Who sent it, where that was somebody else.", nil},
		"to":          {"Recipients.", nil},
		"cc":          {"Copies go to.", nil},
		"bcc":         {"Recipients whom no header names.", nil},
		"reply_to":    {"Where answers go.", nil},
		"in_reply_to": {"The Message-ID of the message that it answers.", nil},
		"references":  {"The Message-IDs of the conversation.", nil},
		"html":        {"The HTML text, as sent: it is not sanitised.", nil},
		"attachments": {"The files.", nil},
		"remarks":     {"What could not be read; with any of them, take the raw message.", nil},
		"headers":     {"Further header fields, whose names begin with X-.", nil},

		"Parsed.text":            {"The plain text, at most 1 MiB.", "Please come."},
		"SubmissionRequest.text": {"The plain text.", "It is out."},
		"SubmissionRequest.from": {"The sender: the mailbox's own address, or its from. Left out: the mailbox's.", nil},

		"Problem.type":     {"The stable name, as a URN: urn:mailgrant:problem: and a dotted name. /docs lists them.", "urn:mailgrant:problem:mailbox.unknown"},
		"Problem.title":    {"The class of problem.", "Not found"},
		"Problem.status":   {"The HTTP status.", 404},
		"Problem.detail":   {"What is wrong, in one sentence.", "There is no mailbox nobody@contoso.example."},
		"Problem.remedy":   {"What to do next.", "See the list of mailboxes."},
		"Problem.field":    {"", nil},
		"Problem.provider": {"What a server outside said of itself, for its support.", nil},
		"Problem.errors":   {"Every fault of the document, where it has several.", nil},

		"Profile.name":   {"The profile's name.", "read-only"},
		"Profile.scopes": {"The scopes that are asked for.", list{"https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"}},

		"Provider.kind":                   {"", nil},
		"Provider.tenant":                 {"The organisation: a domain or an id.", "contoso.example"},
		"Provider.cloud":                  {"The provider's cloud; left out: the global one.", nil},
		"Provider.issuer":                 {"The issuer, whose metadata is discovered.", nil},
		"Provider.client_id":              {"The id of the registration.", "11111111-2222-3333-4444-555555555555"},
		"Provider.redirect_uri":           {"Left out: public_url and /oauth/callback.", nil},
		"Provider.authorize":              {"How a person is sent to sign in.", nil},
		"Provider.endpoints":              {"Endpoints other than those of the provider's metadata.", nil},
		"Provider.identity_claim":         {"The claim that holds the address, where it is not a standard one.", nil},
		"Provider.profiles":               {"Named grant types with scopes.", nil},
		"Provider.effective_redirect_uri": {"", "https://mail.contoso.example/oauth/callback"},

		"QuarantineOut.since":       {"Since when it waits.", "2026-11-24T09:30:00Z"},
		"QuarantineOut.next_try_at": {"When it is tried next.", "2026-11-24T09:35:00Z"},
		"QuarantineOut.text":        {"Why it waits.", "The rights of the registration have not arrived at the mail server yet."},

		"Receive.protocol": {"", "imap"},
		"Receive.folders":  {"Left out: INBOX.", list{"INBOX"}},
		"Receive.mode":     {"push waits for the server to speak, poll asks again and again.", "push"},
		"Receive.tls":      {"", "implicit"},
		"Send.protocol":    {"", "smtp"},
		"Send.fallback":    {"The protocol to use where the first one is switched off.", nil},
		"Send.host":        {"Left out: the provider's, where it is known.", "smtp.contoso.example"},
		"Send.port":        {"Left out: the protocol's own.", 587},
		"Send.tls":         {"", "starttls"},

		"Report.form":           {"jwt: it can be read; encrypted, opaque: only its server can.", "jwt"},
		"Report.kind":           {"access token, ID token, or token where it does not say.", "access token"},
		"Report.from":           {"Where in the pasted text it was found.", nil},
		"Report.sasl_user":      {"The mailbox that a SASL response asks for.", nil},
		"Report.who":            {"Whose it is, in a sentence.", "It is of " + desk + "."},
		"Report.addresses":      {"Addresses in it. They prove nothing.", list{desk}},
		"Report.name":           {"The person's name.", nil},
		"Report.subject":        {"The sub claim.", nil},
		"Report.audience":       {"For which server it is.", list{"https://outlook.office.com"}},
		"Report.audience_title": {"The same in words.", "Outlook"},
		"Report.roles":          {"Permissions of an application.", nil},
		"Report.client_id":      {"For which registration it was issued.", nil},
		"Report.issued_at":      {"When it was issued.", "2026-11-24T09:30:00Z"},
		"Report.not_before":     {"From when it is good.", nil},
		"Report.expiry":         {"When it ends, in words.", "It ends in 59 minutes."},
		"Report.notice":         {"What this reading is worth.", "The signature was not checked: this is what is written in the token, not a proof that it is genuine."},
		"Report.findings":       {"What is wrong with it.", nil},
		"Rotation.resealed":     {"How many stored secrets were sealed anew.", 42},

		"Rung.name":     {"The step's name.", "receive.tls"},
		"Rung.title":    {"The same for people.", "TLS with the server"},
		"Rung.ok":       {"It was climbed.", true},
		"Rung.skipped":  {"It was not tried, because an earlier one failed.", nil},
		"Rung.observed": {"What was seen.", "TLS 1.3; the certificate is good until 2027-02-01."},
		"Rung.id":       {"The name of the fault.", nil},
		"Rung.cause":    {"Why it failed, in one sentence.", nil},
		"Rung.detail":   {"What the server said of itself.", nil},
		"Rung.took_ns":  {"How long it took, in nanoseconds.", 18250000},

		"Subject.name":    {"The display name.", "Service Desk"},
		"Subject.subject": {"The sub claim.", "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"},

		"Submission.state":               {"Where it stands.", "queued"},
		"Submission.possibly_duplicated": {"A connection broke between the message and the reply: it may have been sent twice.", nil},
		"Submission.envelope":            {"Who sends, to whom.", nil},
		"Submission.attempts":            {"How often sending was tried.", 0},
		"Submission.next_attempt_at":     {"When it is tried next.", "2026-11-24T09:30:00Z"},
		"Submission.expires_at":          {"When it is given up.", "2026-11-27T09:30:00Z"},
		"Submission.settled_at":          {"When it was sent, failed or expired.", nil},
		"Submission.reply":               {"The mail server's last reply.", nil},

		"TestRequest.send_to":  {"", nil},
		"TestResult.ok":        {"Every rung was climbed.", true},
		"TestResult.rungs":     {"The rungs, from the settings to the opened mailbox.", nil},
		"Token.access_token":   {"The access token.", "eyJ0eXAiOiJKV1Qi…"},
		"Token.token_type":     {"How it is sent.", "Bearer"},
		"TokenRequest.min_ttl": {"", "5m"},

		"Webhook.name":     {"", "desk"},
		"Webhook.url":      {"Where events are delivered.", "https://desk.contoso.example/hook"},
		"Webhook.secret":   {"", nil},
		"Webhook.events":   {"Kinds, families such as submission.*, or *.", list{"message.received", "submission.*"}},
		"Webhook.disabled": {"Why it was switched off.", nil},
	}
}
