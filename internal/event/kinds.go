package event

// Kind is an event's stable name: family and act, dotted.
type Kind string

// Described is a kind with the sentence that documents it.
type Described struct {
	Kind Kind
	Text string
	// Alert says that a person has to act: the pages show it first.
	Alert bool
}

// The kinds. Add one here and nowhere else.
const (
	ProviderCreated Kind = "provider.created"
	ProviderUpdated Kind = "provider.updated"
	ProviderDeleted Kind = "provider.deleted"
	SecretExpiring  Kind = "provider.secret_expiring"
	SecretExpired   Kind = "provider.secret_expired"
	MailboxCreated  Kind = "mailbox.created"
	MailboxUpdated  Kind = "mailbox.updated"
	MailboxDeleted  Kind = "mailbox.deleted"
	MailboxPaused   Kind = "mailbox.paused"
	MailboxResumed  Kind = "mailbox.resumed"
	MailboxTested   Kind = "mailbox.tested"

	LinkCreated      Kind = "authorization.link_created"
	AttemptStarted   Kind = "authorization.attempt_started"
	AttemptRefused   Kind = "authorization.refused"
	AttemptGranted   Kind = "authorization.granted"
	LinkExpired      Kind = "authorization.expired"
	LinkCancelled    Kind = "authorization.cancelled"
	GrantQuarantined Kind = "grant.quarantined"

	GrantCreated       Kind = "grant.created"
	GrantReplaced      Kind = "grant.replaced"
	GrantRefreshed     Kind = "grant.refreshed"
	GrantRefreshFailed Kind = "grant.refresh_failed"
	GrantDead          Kind = "grant.dead"
	GrantRecovered     Kind = "grant.recovered"
	GrantSuspended     Kind = "grant.suspended"
	GrantRevoked       Kind = "grant.revoked"
	GrantLateAnswer    Kind = "grant.late_answer"
	GrantReleased      Kind = "grant.quarantine_released"
	GrantDropped       Kind = "grant.quarantine_dropped"

	MessageReceived Kind = "message.received"
	FolderReset     Kind = "fetch.folder_reset"
	FetchStopped    Kind = "fetch.stopped"
	FetchResumed    Kind = "fetch.resumed"
	DisposeRefused  Kind = "fetch.after_receive_refused"

	SubmissionAccepted Kind = "submission.accepted"
	SubmissionRetrying Kind = "submission.retrying"
	SubmissionHastened Kind = "submission.retry_requested"
	SubmissionSent     Kind = "submission.sent"
	SubmissionFailed   Kind = "submission.failed"
	SubmissionExpired  Kind = "submission.expired"
	SubmissionDoubled  Kind = "submission.possibly_duplicated"

	WebhookCreated  Kind = "webhook.created"
	WebhookUpdated  Kind = "webhook.updated"
	WebhookDeleted  Kind = "webhook.deleted"
	WebhookDisabled Kind = "webhook.disabled"
	WebhookEnabled  Kind = "webhook.enabled"
	WebhookSecret   Kind = "webhook.secret_rotated"
	WebhookPing     Kind = "webhook.ping"

	DeliveryParked    Kind = "webhook.delivery_parked"
	DeliveryReplayed  Kind = "webhook.delivery_replayed"
	DeliveriesDropped Kind = "webhook.deliveries_dropped"

	OperatorCreated  Kind = "operator.created"
	OperatorDeleted  Kind = "operator.deleted"
	OperatorSignedIn Kind = "operator.signed_in"
	SignInRefused    Kind = "operator.sign_in_refused"
	SessionEnded     Kind = "operator.session_ended"
	APIKeyCreated    Kind = "api_key.created"
	APIKeyUpdated    Kind = "api_key.updated"
	APIKeyRenewed    Kind = "api_key.renewed"
	APIKeyDeleted    Kind = "api_key.deleted"
	APIKeyExpiring   Kind = "api_key.expiring"
	APIKeyExpired    Kind = "api_key.expired"
	KeysRotated      Kind = "keys.rotated"
	RefreshSilent    Kind = "broker.silent"

	OperatorLinkCreated     Kind = "operator.link_created"
	OperatorPasswordChanged Kind = "operator.password_changed"
)

// Alert reports whether a person has to act on an event of this kind.
func (k Kind) Alert() bool {
	for _, d := range Kinds() {
		if d.Kind == k {
			return d.Alert
		}
	}
	return false
}

// Kinds lists every kind in the order of the documents.
func Kinds() []Described {
	return []Described{
		{ProviderCreated, "A provider was added.", false},
		{ProviderUpdated, "A provider was changed.", false},
		{ProviderDeleted, "A provider was removed.", false},
		{SecretExpiring, "The last client secret of a provider ends soon: told 60, 30, 14, 7 days and a day ahead.", true},
		{SecretExpired, "The last client secret of a provider has ended; its access tokens cannot be renewed.", true},
		{MailboxCreated, "A mailbox was added.", false},
		{MailboxUpdated, "A mailbox was changed.", false},
		{MailboxDeleted, "A mailbox was removed.", false},
		{MailboxPaused, "A mailbox was paused by an operator.", false},
		{MailboxResumed, "A paused mailbox goes on.", false},
		{MailboxTested, "A mailbox was tested.", false},
		{LinkCreated, "An authorization link was made.", false},
		{AttemptStarted, "Somebody opened the authorization link and started to sign in.", false},
		{AttemptRefused, "An authorization attempt was refused; nothing was stored.", true},
		{AttemptGranted, "The mailbox owner authorised the mailbox.", false},
		{LinkExpired, "An authorization link expired unused.", false},
		{LinkCancelled, "An authorization link was cancelled.", false},
		{GrantQuarantined, "An authorization could not be verified yet and waits in quarantine.", true},
		{GrantCreated, "The mailbox has its first grant.", false},
		{GrantReplaced, "A new authorization replaced the grant.", false},
		{GrantRefreshed, "The access token was renewed.", false},
		{GrantRefreshFailed, "Renewing the access token failed; it is tried again.", false},
		{GrantDead, "The authorization server no longer honours the grant; the mailbox must be authorised again.", true},
		{GrantRecovered, "Renewal works again after failures.", false},
		{GrantSuspended, "The grant is suspended until the changed mailbox is verified anew.", true},
		{GrantRevoked, "The grant was ended by an operator.", false},
		{GrantLateAnswer, "An answer to a refresh came after another process had taken over; it is kept aside.", false},
		{GrantReleased, "A quarantined authorization was verified and is now in use.", false},
		{GrantDropped, "A quarantined authorization was dropped.", true},
		{MessageReceived, "A message arrived.", false},
		{FolderReset, "The mail server numbered a folder anew; it was read again without doubling messages.", false},
		{FetchStopped, "Receiving stopped; the cause says why.", true},
		{FetchResumed, "Receiving works again.", false},
		{DisposeRefused, "The mail server refused what after_receive asks for; received messages stay as they are.", true},
		{SubmissionAccepted, "A message was accepted for sending.", false},
		{SubmissionRetrying, "Sending failed for now; it is tried again.", false},
		{SubmissionHastened, "Somebody asked to try a waiting message at once.", false},
		{SubmissionSent, "A message was sent.", false},
		{SubmissionFailed, "A message cannot be sent.", true},
		{SubmissionExpired, "A message waited longer than allowed and will not be sent.", true},
		{SubmissionDoubled, "A mail server took a message from an attempt that had been held for dead and taken over, so it may have been sent twice.", false},
		{WebhookCreated, "A webhook was added.", false},
		{WebhookUpdated, "A webhook was changed.", false},
		{WebhookDeleted, "A webhook was removed.", false},
		{WebhookDisabled, "A webhook was switched off: its receiver answered 410 Gone, or an operator did it.", true},
		{WebhookEnabled, "A webhook was switched on again.", false},
		{WebhookSecret, "The signing secret of a webhook was rotated.", false},
		{WebhookPing, "A test of a webhook: its receiver gets an event of this kind, and the timeline says what was answered.", false},
		{DeliveryParked, "A delivery failed for too long and was put aside; the rest goes on.", true},
		{DeliveryReplayed, "Deliveries are made again, as somebody asked.", false},
		{DeliveriesDropped, "Deliveries that were parked or waited for longer than the retention were removed unmade.", true},
		{OperatorCreated, "An operator was added.", false},
		{OperatorLinkCreated, "A one-time set-up link was made for an operator.", false},
		{OperatorPasswordChanged, "An operator set a new password; earlier sessions ended.", false},
		{OperatorDeleted, "An operator was removed; their sessions ended.", false},
		{OperatorSignedIn, "An operator signed in.", false},
		{SignInRefused, "A sign-in, or a change of password, was refused: the password was wrong.", false},
		{SessionEnded, "A session of an operator was ended.", false},
		{APIKeyCreated, "An API key was made.", false},
		{APIKeyUpdated, "An API key was changed: what it may do, where, or until when.", false},
		{APIKeyRenewed, "An API key was given a new value; the old one ended.", false},
		{APIKeyDeleted, "An API key was removed.", false},
		{APIKeyExpiring, "An API key ends soon: told 14 days, 7 days and a day ahead.", true},
		{APIKeyExpired, "An API key has ended; every call with it is refused.", true},
		{KeysRotated, "The sealing key was rotated.", false},
		{RefreshSilent, "The refresh loop has not run for too long.", true},
	}
}
