package resources

import (
	"slices"
	"strings"
)

// Key is a setting that a resource file may have, with what it takes.
type Key struct {
	Name  string // without the numbers of list items: mailboxes.receive.protocol
	Takes string // half a sentence: what may stand there, with an example
}

// Keys lists every setting, in the order of the reference.
func Keys() []Key {
	server := func(doing string) []Key {
		at, host, port := "receiving", "imap.example.org", "993"
		if doing == "send" {
			at, host, port = "sending", "smtp.example.org", "587"
		}
		return []Key{
			{"mailboxes." + doing + ".host", "the mail server's name, such as " + host + "; where it is left out, the provider's own for " + at},
			{"mailboxes." + doing + ".port", "a port number, such as " + port},
			{"mailboxes." + doing + ".tls", "implicit, starttls, or none (towards this machine itself only)"},
			{"mailboxes." + doing + ".user", "the name to give to the mail server, where it is not the address"},
			{"mailboxes." + doing + ".ca_pem", "certificates in PEM form, of authorities that are trusted for this server"},
			{"mailboxes." + doing + ".ca_file", "the path of a file with such certificates"},
		}
	}
	return slices.Concat([]Key{
		{"providers", "a list of providers, one dash before each"},
		{"providers.name", "a name of small letters, digits, dots and dashes, such as contoso"},
		{"providers.kind", "one of the kinds of provider, such as generic; another one is answered with the list of those there are"},
		{"providers.tenant", "the organisation's domain or id, such as contoso.onmicrosoft.com, where the kind has tenants"},
		{"providers.cloud", "the cloud, such as global, where the kind has several"},
		{"providers.issuer", "the issuer's URL, such as https://idp.example, where the kind has no tenants"},
		{"providers.client_id", "the client id of the app registration"},
		{"providers.client_secrets", "a list of client secrets in the order in which they are tried, each {env: NAME} or {file: PATH}; left out, the stored ones stay; an empty list removes them"},
		{"providers.client_secrets.env", "the name of the environment variable that holds the secret where “mailgrant apply” runs"},
		{"providers.client_secrets.file", "the path of a file that holds the secret alone"},
		{"providers.client_secrets.expires_at", "the date on which it ends, such as 2027-05-01; you are warned before"},
		{"providers.client_secrets.id", "the id of a stored client secret that stays, as “mailgrant export” writes it"},
		{"providers.redirect_uri", "the redirect URI to use in place of the server's own, such as https://mail.example.org/oauth_redirect.do"},
		{"providers.authorize", "a group that says how people are sent to sign in, such as {prompt: login}"},
		{"providers.authorize.prompt", "login, select_account or omit"},
		{"providers.ca_pem", "certificates in PEM form, of authorities that are trusted for this provider and its mail servers"},
		{"providers.ca_file", "the path of a file with such certificates"},
		{"providers.endpoints", "addresses in place of those that are known or discovered, such as {token: https://idp.example/token}"},
		{"providers.identity_claim", "the claim that holds the mailbox address, where you vouch for it"},
		{"providers.profiles", "a list of profiles, each {name: NAME, scopes: [SCOPE, …]}"},
		{"providers.profiles.name", "a name of letters, digits, dots and dashes, such as read-only"},
		{"providers.profiles.grant_type", "authorization_code"},
		{"providers.profiles.scopes", "a list of scopes, such as [openid, offline_access]"},

		{"mailboxes", "a list of mailboxes, one dash before each"},
		{"mailboxes.address", "a mail address, such as servicedesk@example.org"},
		{"mailboxes.provider", "the name of a provider, of this file or one that is stored"},
		{"mailboxes.grant_type", "authorization_code"},
		{"mailboxes.profile", "the name of one of the provider's profiles; left out, scopes follow from what the mailbox does"},
		{"mailboxes.acts_as", `owner, or "delegate: name@domain"`},
		{"mailboxes.from", "the address of the sender, where it is not the mailbox's own"},
		{"mailboxes.allow_unverifiable", "true, to accept an authorisation whose identity the provider cannot prove, or false"},
		{"mailboxes.receive", "a group that says how mail is received, such as {protocol: imap}"},
		{"mailboxes.receive.protocol", "imap or pop3"},
		{"mailboxes.receive.folders", "a list of folders, such as [INBOX], which is all that pop3 can read"},
		{"mailboxes.receive.mode", "push, or poll with every; left out, push with imap and poll with pop3"},
		{"mailboxes.receive.every", "a duration such as 60s or 5m, with mode: poll"},
	}, server("receive"), []Key{
		{"mailboxes.send", "a group that says how mail is sent, such as {protocol: smtp}"},
		{"mailboxes.send.protocol", "smtp"},
		{"mailboxes.send.fallback", "the way to send while the first one is shut: graph"},
	}, server("send"), []Key{
		{"mailboxes.after_receive", `keep, mark_seen, "move: Folder" or delete; with pop3, keep or delete`},

		{"webhooks", "a list of webhooks, one dash before each"},
		{"webhooks.name", "a name of small letters, digits, dots and dashes, such as desk"},
		{"webhooks.url", "a URL that begins with https://, such as https://desk.example/hook"},
		{"webhooks.secret", "a group that says where the signing secret is, {file: PATH} or {env: NAME}; left out, the stored one stays, or one is made and shown once"},
		{"webhooks.secret.env", "the name of the environment variable that holds the secret where “mailgrant apply” runs"},
		{"webhooks.secret.file", "the path of a file that holds the secret alone"},
		{"webhooks.events", "a list of events such as message.received, of families such as submission.*, or [\"*\"]"},
		{"webhooks.mailboxes", "a list of the addresses whose events are delivered; left out, all"},
		{"webhooks.ca_pem", "certificates in PEM form, of authorities that are trusted for this URL"},
		{"webhooks.ca_file", "the path of a file with such certificates"},

		{"apps", "a list of programs, one dash before each"},
		{"apps.name", "a name of small letters, digits, dots and dashes, such as backup"},
		{"apps.may", "a list out of read, send, token and manage"},
		{"apps.mailboxes", "a list of the addresses that it may use; left out, all"},
		{"apps.networks", "a list of networks that it may call from, such as 10.1.0.0/16; left out, everywhere"},
		{"apps.expires_at", "the date on which its API key ends, such as 2027-05-01; left out, never"},
	})
}

// Takes says what a field takes; false where there is no such field.
func Takes(field string) (string, bool) {
	name := shape(field)
	for _, k := range Keys() {
		if k.Name == name {
			return k.Takes, true
		}
	}
	return "", false
}

// takesOf is Takes for a field, an item of a list, or a member of endpoints.
func takesOf(field string) string {
	for {
		if takes, ok := Takes(field); ok {
			return takes
		}
		at := strings.LastIndexByte(field, '.')
		if at < 0 {
			return "a list of resources"
		}
		field = field[:at]
	}
}

func joinWords(words []string) string { return strings.Join(words, ", ") }
