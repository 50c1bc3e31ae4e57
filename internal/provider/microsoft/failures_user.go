package microsoft

import "github.com/mailgrant/mailgrant/internal/fault"

func by(who ...fault.Who) []fault.Who { return who }

// userFailures are about the person: who they are, how they sign in, and the
// end of what they granted.
func userFailures() []Failure {
	const again = "Open the link again and sign in as the mailbox's owner."
	return []Failure{
		{
			Codes: []int{16000}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "The browser is signed in to Microsoft with an account that is not in this tenant.", Remedy: "Sign out at Microsoft or use a private window; then open the link again and sign in as the mailbox's owner.",
		},
		{
			Codes: []int{50020, 90072}, Class: ClassAuthorize, Who: by(fault.MailboxOwner, fault.Operator),
			Cause:  "The person who signed in belongs to another tenant than {tenant}.",
			Remedy: "Open the link in a private window and sign in with the right account. If it was the right one, the setting tenant is wrong, or the person has to be invited to the tenant as a guest.",
		},
		{
			Codes: []int{51004, 50034}, Class: ClassUser, Who: by(fault.MailboxOwner, fault.Operator),
			Cause: "The directory of this tenant knows no such user.", Remedy: "Check the address that was typed, and that the provider's tenant is the one in which the mailbox lives.",
		},
		{
			Codes: []int{50053}, Class: ClassUser, Who: by(fault.TenantAdmin),
			Cause: "The user is locked after too many failed sign-ins, or the sign-in came from an address that Microsoft blocks.", Remedy: "Wait or have the user unlocked; the tenant's sign-in log says which of the two it was.",
		},
		{
			Codes: []int{50055, 50144}, Class: ClassUser, Who: by(fault.MailboxOwner),
			Cause: "The user's password has expired.", Remedy: "Change the password, then authorise again.",
		},
		{
			Codes: []int{50056}, Class: ClassUser, Who: by(fault.TenantAdmin),
			Cause: "The user has no password, or one in a form that cannot be used here.", Remedy: "Set a password for the user, or check the federation of their domain.",
		},
		{
			Codes: []int{50057}, Class: ClassUser, Who: by(fault.Operator, fault.MailAdmin),
			Cause:  "The user who was to sign in is disabled. That is normal for the own user of a shared mailbox.",
			Remedy: "Do not sign in as the shared mailbox. Declare a licensed user who has Full Access as its delegate (acts_as: delegate: name@domain), and let that user authorise.",
		},
		{
			Codes: []int{50126}, Class: ClassUser, Who: by(fault.MailboxOwner),
			Cause: "User name or password were wrong.", Remedy: "Open the link again and type them with care; for a federated domain, check the federation.",
		},
		{
			Codes: []int{50058}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "Nobody is signed in to Microsoft in this browser, and no sign-in page was allowed.", Remedy: again,
		},
		{
			Codes: []int{50072, 50074, 50076, 50078, 50079}, Class: ClassAuthorize, Who: by(fault.MailboxOwner, fault.TenantAdmin),
			Cause:  "Microsoft asks for a second factor, or for enrolling one.",
			Remedy: "Open the link again and complete it. For a mailbox without a person, an administrator may exclude its user from the policy.",
		},
		{
			Codes: []int{50158}, Class: ClassAuthorize, Who: by(fault.MailboxOwner, fault.TenantAdmin),
			Cause: "A further condition was not met: a third party's second factor, or terms of use.", Remedy: "Open the link again and complete what is asked.",
		},
		{
			Codes: []int{50089}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "Signing in took too long.", Remedy: "Open the link again and start from the beginning.",
		},
		{
			Codes: []int{50132, 50133, 50173}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause:  "The grant was ended at Microsoft: the user's sessions were revoked or the password was changed after it was given.",
			Remedy: "The mailbox's owner has to authorise again, by a new link.",
		},
		{
			Codes: []int{70000, 70008}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "Microsoft no longer knows the code or refresh token: it has expired, was revoked, or belongs to another app.", Remedy: "The mailbox's owner has to authorise again, by a new link.",
		},
		{
			Codes: []int{700082}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "The refresh token was not used for 90 days, and has ended.", Remedy: "The mailbox's owner has to authorise again, by a new link. As long as Mailgrant runs it is used daily.",
		},
		{
			Codes: []int{70043}, Class: ClassPolicy, Who: by(fault.MailboxOwner, fault.TenantAdmin),
			Cause:  "A Conditional Access policy on the sign-in frequency has ended the grant.",
			Remedy: "The mailbox's owner has to authorise again. It will end again after the same time unless an administrator excludes this user or app from the policy.",
		},
		{
			Codes: []int{54005, 700005}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "The code that came back with the browser was used already.", Remedy: "Open the link again; do not reload the page that comes after signing in.",
		},
		{
			Codes: []int{65004}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "The person who signed in declined the permissions.", Remedy: "Open the link again and accept, or ask an administrator to consent for the organisation.",
		},
		{
			Codes: []int{500208}, Class: ClassAuthorize, Who: by(fault.MailboxOwner, fault.Operator),
			Cause: "This sort of account (work or personal) cannot sign in here.", Remedy: "Sign in with the other sort, or set the provider's tenant to the one that fits.", Field: "tenant",
		},
		{
			Codes: []int{70018, 70019}, Class: ClassAuthorize, Who: by(fault.MailboxOwner),
			Cause: "The device code is wrong or has ended.", Remedy: "Start again and type the new code in time.",
		},
		{
			Codes: []int{70016}, Class: ClassTransient, Who: by(fault.MailboxOwner), Retry: true,
			Cause: "Nobody has typed the device code yet.", Remedy: "Type it on the page that was named.",
		},
		{
			Codes: []int{135010}, Class: ClassUser, Who: by(fault.MailboxOwner),
			Cause: "Microsoft did not find a key that this device signs in with.", Remedy: "Try another browser or a private window.",
		},
	}
}
