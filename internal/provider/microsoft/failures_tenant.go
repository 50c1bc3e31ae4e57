package microsoft

import "github.com/mailgrant/mailgrant/internal/fault"

// tenantFailures are about the tenant, its cloud and its policies.
func tenantFailures() []Failure {
	const log = "The tenant's sign-in log has the entry under the correlation ID shown here."
	return []Failure{
		{
			Codes: []int{90002, 50059}, Class: ClassConfigure, Who: by(fault.Operator), Field: "tenant",
			Cause:  "Microsoft knows no tenant “{tenant}”: its name or ID is mistyped, or it lives in another cloud.",
			Remedy: "Correct the setting tenant (the domain, or the Directory (tenant) ID from the overview page), or the setting cloud.",
		},
		{
			Codes: []int{50194}, Class: ClassConfigure, Who: by(fault.Operator, fault.AppOwner), Field: "tenant",
			Cause:  "The app {client_id} is registered for one tenant only, and so cannot be used with tenant: {tenant}.",
			Remedy: "Set tenant to the domain or ID of that tenant, or have the app's owner make it multi-tenant.",
		},
		{
			Codes: []int{90019, 9001023}, Class: ClassConfigure, Who: by(fault.Operator), Field: "tenant",
			Cause: "This cannot be asked under tenant: {tenant}; Microsoft wants to know which tenant is meant.", Remedy: "Set tenant to the tenant's domain or ID.",
		},
		{
			Codes: []int{9002332}, Class: ClassConfigure, Who: by(fault.Operator), Field: "tenant",
			Cause: "The app {client_id} is for work accounts only, but personal ones were asked for.", Remedy: "Set tenant to the tenant's domain or ID.",
		},
		{
			Codes: []int{90038, 900439}, Class: ClassConfigure, Who: by(fault.Operator), Field: "cloud",
			Cause: "The tenant {tenant} lives in another of Microsoft's clouds.", Remedy: "Set cloud to the one that fits: global, us-gov-high, us-gov-dod or china. Each cloud needs an app registration of its own.",
		},
		{
			Codes: []int{50131, 53003, 530032, 530035}, Class: ClassPolicy, Who: by(fault.TenantAdmin),
			Cause: "A Conditional Access policy or the security defaults of the tenant block this sign-in.", Remedy: log + " It names the policy; an administrator changes it for this app, user or place.",
		},
		{
			Codes: []int{53004}, Class: ClassPolicy, Who: by(fault.MailboxOwner, fault.TenantAdmin),
			Cause: "Microsoft holds it too risky to enrol a second factor from here.", Remedy: "Enrol it from a place that the organisation trusts, then authorise again.",
		},
		{
			Codes: []int{50097, 53000, 53001, 53002, 530003}, Class: ClassPolicy, Who: by(fault.MailboxOwner, fault.TenantAdmin),
			Cause:  "The tenant lets people sign in from managed devices or approved apps only.",
			Remedy: "Open the link on a managed device, or have an administrator exclude this app or user from the policy. " + log,
		},
		{
			Codes: []int{500021, 500022, 500212, 500213}, Class: ClassPolicy, Who: by(fault.TenantAdmin),
			Cause: "The network or the tenant does not allow signing in to this other tenant.", Remedy: "An administrator has to allow the tenant in the tenant restrictions or the cross-tenant access settings.",
		},
		{
			Codes: []int{90094}, Class: ClassPolicy, Who: by(fault.TenantAdmin),
			Cause: "Only an administrator may consent to the permissions of the app {client_id}.", Remedy: "Send the tenant's administrator the admin-consent link; after that the mailbox's owner opens the link again.",
		},
		{
			Codes: []int{90095}, Class: ClassPolicy, Who: by(fault.TenantAdmin),
			Cause: "The permissions of the app {client_id} wait for an administrator's approval.", Remedy: "Ask an administrator to approve the request; after that open the link again.",
		},
	}
}

// protocolFailures are about the request itself and about Microsoft's state.
func protocolFailures() []Failure {
	const ours = "Start again from the link. If it happens again, report it with the IDs shown here."
	return []Failure{
		{
			Codes: []int{50196}, Class: ClassTransient, Who: by(fault.Operator), Retry: true,
			Cause: "Microsoft has seen too many equal requests and takes them for a loop.", Remedy: "Look for a program that asks for access tokens in a loop; Mailgrant keeps those it has.",
		},
		{
			Codes: []int{90006, 90012, 90024, 90033}, Class: ClassTransient, Who: by(fault.Provider), Retry: true,
			Cause: "Microsoft could not answer just now.", Remedy: "Nothing has to be done; the request is repeated.",
		},
		{
			Codes: []int{90055}, Class: ClassTransient, Who: by(fault.Provider), Retry: true,
			Cause: "Microsoft limits the rate of requests of this tenant.", Remedy: "Nothing has to be done; the request is repeated later.",
		},
		{
			Codes: []int{50147, 501481, 501491}, Class: ClassConfigure, Who: by(fault.MailboxOwner),
			Cause: "The proof that the same program asked and came back (PKCE) does not fit.", Remedy: ours,
		},
		{
			Codes: []int{90014, 900144}, Class: ClassConfigure, Who: by(fault.Operator),
			Cause: "A field of the request is missing or empty; often the client secret is.", Remedy: "Check client_id and client_secrets of the provider {provider}.", Field: "client_secrets",
		},
		{
			Codes: []int{90013, 9002313}, Class: ClassConfigure, Who: by(fault.MailboxOwner, fault.Operator),
			Cause: "Microsoft cannot read the request; often a refresh token or a secret was damaged on its way.", Remedy: "Authorise again; if that does not help, enter the client secret anew.",
		},
		{
			Codes: []int{90056, 900561}, Class: ClassConfigure, Who: by(fault.Operator), Field: "endpoints.authority",
			Cause: "The request went to an endpoint that does not take it.", Remedy: "Check the endpoint authority of the provider {provider}.",
		},
		{
			Codes: []int{90005, 70007, 90023, 901002, 70003}, Class: ClassConfigure, Who: by(fault.Operator),
			Cause: "Microsoft does not take the request in this form.", Remedy: ours,
		},
	}
}
