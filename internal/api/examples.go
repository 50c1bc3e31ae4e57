package api

// requestExamples are bodies that the server takes as they stand, but for what
// they refer to.
func requestExamples() map[string]any {
	const desk, adele = "servicedesk@contoso.example", "adele@contoso.example"
	provider := tree{
		"name": "contoso", "kind": "generic", "issuer": "https://login.contoso.example", "client_id": "11111111-2222-3333-4444-555555555555",
		"client_secrets": []any{tree{"value": "the client secret", "expires_at": "2027-11-24T00:00:00Z"}},
	}
	mailbox := tree{
		"address": desk, "provider": "contoso",
		"receive": tree{"protocol": "imap", "folders": []any{"INBOX"}, "mode": "push", "host": "imap.contoso.example"},
		"send":    tree{"protocol": "smtp", "host": "smtp.contoso.example"},
	}
	webhook := tree{"name": "desk", "url": "https://desk.contoso.example/hook", "events": []any{"message.received", "submission.*"}}
	return map[string]any{
		"apply":                tree{"providers": []any{provider}, "mailboxes": []any{mailbox}, "webhooks": []any{webhook}},
		"create-provider":      provider,
		"put-provider":         provider,
		"create-mailbox":       mailbox,
		"put-mailbox":          mailbox,
		"create-authorization": tree{"expires_in": "72h"},
		"lend-token":           tree{"resource": "mail", "min_ttl": "5m"},
		"test-mailbox":         tree{},
		"inspect-token":        tree{"token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"},
		"create-submission": tree{
			"from": tree{"address": desk}, "to": []any{tree{"name": "Adele Vance", "address": adele}}, "subject": "The printer", "text": "It is out.",
		},
		"create-webhook": webhook,
		"put-webhook":    webhook,
		"create-app":     tree{"name": "desk", "may": []any{"read", "send"}},
	}
}

// streamExamples are what a stream of an operation looks like.
func streamExamples() map[string]string {
	return map[string]string{
		"list-events": ": following\n\nid: 0193d3a1-6b3c-7c2e-9a51-2f0d8b7c4e10\nevent: submission.sent\n" +
			`data: {"id":"0193d3a1-6b3c-7c2e-9a51-2f0d8b7c4e10","at":"2026-11-24T09:30:00Z","kind":"submission.sent","mailbox":"servicedesk@contoso.example","actor":{"kind":"system"},"text":"The message to adele@contoso.example was sent."}` + "\n\n",
		"test-mailbox": "event: rung\n" + `data: {"name":"receive.tls","title":"TLS with the server","ok":true,"observed":"TLS 1.3","took_ns":18250000}` +
			"\n\nevent: result\n" + `data: {"ok":true,"rungs":[…]}` + "\n\n",
		"apply": "event: change\n" + `data: {"done":1,"of":1,"change":{"kind":"mailbox","name":"servicedesk@contoso.example","action":"updated","fields":["receive.mode"]}}` +
			"\n\nevent: result\n" + `data: {"changes":[{"kind":"mailbox","name":"servicedesk@contoso.example","action":"updated","fields":["receive.mode"]}]}` + "\n\n",
	}
}
