package microsoft

import "github.com/mailgrant/mailgrant/internal/fault"

// appFailures are about the app registration, its secrets and its permissions.
func appFailures() []Failure {
	const portal = "In the Entra admin centre, App registrations, "
	return []Failure{
		{
			Codes: []int{50011}, Class: ClassConfigure, Who: by(fault.AppOwner), Field: "redirect_uri",
			Cause:  "The redirect URI is not one of those registered with the app {client_id}.",
			Remedy: portal + "Authentication: add exactly the redirect URI that Mailgrant sends (scheme, host, port, path, slash and case) under Web.",
		},
		{
			Codes: []int{500113}, Class: ClassConfigure, Who: by(fault.AppOwner), Field: "redirect_uri",
			Cause: "The app {client_id} has no redirect URI registered at all.", Remedy: portal + "Authentication: add the redirect URI that Mailgrant sends, under Web.",
		},
		{
			Codes: []int{500112}, Class: ClassConfigure, Who: by(fault.Operator), Field: "redirect_uri",
			Cause: "The redirect URI was changed while somebody was signing in.", Remedy: "Open the link again and start from the beginning.",
		},
		{
			Codes: []int{7000215, 70002}, Class: ClassConfigure, Who: by(fault.AppOwner), Field: "client_secrets",
			Cause:  "Microsoft does not accept the client secret of the app {client_id}. Very often the Secret ID was copied instead of the Value.",
			Remedy: portal + "Certificates & secrets: make a new client secret and copy its Value (it is shown only once) into client_secrets of the provider {provider}. All grants are kept and go on after that.",
		},
		{
			Codes: []int{7000222}, Class: ClassConfigure, Who: by(fault.AppOwner), Field: "client_secrets",
			Cause:  "The client secret of the app {client_id} has expired: every mailbox of the provider {provider} waits for a new one.",
			Remedy: portal + "Certificates & secrets: make a new client secret and put its Value into client_secrets. All grants are kept and go on after that.",
		},
		{
			Codes: []int{7000218}, Class: ClassConfigure, Who: by(fault.Operator), Field: "client_secrets",
			Cause: "The app {client_id} is confidential and needs a client secret, but none was sent.", Remedy: "Give the provider {provider} the app's client secret in client_secrets.",
		},
		{
			Codes: []int{700025}, Class: ClassConfigure, Who: by(fault.Operator), Field: "client_secrets",
			Cause: "The app {client_id} is a public client and must not send a client secret.", Remedy: "Remove client_secrets from the provider, or register the redirect URI under Web instead of Mobile and desktop.",
		},
		{
			Codes: []int{700024, 700027, 700030}, Class: ClassConfigure, Who: by(fault.AppOwner, fault.Operator), Field: "client_certificate",
			Cause: "The signed statement by which the app {client_id} shows its certificate was not accepted.", Remedy: "Check this machine's clock, that the certificate is uploaded to the app registration, and the client ID.",
		},
		{
			Codes: []int{700016, 70001, 700011}, Class: ClassConfigure, Who: by(fault.Operator, fault.AppOwner), Field: "client_id",
			Cause:  "There is no app {client_id} in the tenant {tenant}: the client ID or the tenant is wrong, or nobody has consented to it there.",
			Remedy: "Compare client_id with the Application (client) ID of the registration (not its Object ID) and tenant with the Directory (tenant) ID. If both are right, send the tenant's administrator the admin-consent link.",
		},
		{
			Codes: []int{7000112}, Class: ClassConfigure, Who: by(fault.TenantAdmin),
			Cause: "The app {client_id} is disabled in the tenant {tenant}.", Remedy: "In the Entra admin centre, Enterprise applications, Properties: set Enabled for users to sign in to Yes.",
		},
		{
			Codes: []int{50105, 501051}, Class: ClassConfigure, Who: by(fault.TenantAdmin),
			Cause: "The app {client_id} may only be used by people who are assigned to it, and this one is not.", Remedy: "In the Entra admin centre, Enterprise applications, Users and groups: assign the person, or turn Assignment required off.",
		},
		{
			Codes: []int{65001}, Class: ClassAuthorize, Who: by(fault.MailboxOwner, fault.TenantAdmin),
			Cause:  "Nobody has consented to all the permissions that are asked for the app {client_id}.",
			Remedy: "Authorise again and accept what is asked, or have an administrator consent for the organisation.",
		},
		{
			Codes: []int{65002}, Class: ClassConfigure, Who: by(fault.AppOwner), Field: "client_id",
			Cause: "The client ID is that of an app of Microsoft's own.", Remedy: "Register an app of your own and use its client ID.",
		},
		{
			Codes: []int{65005, 650053, 650056, 650057}, Class: ClassConfigure, Who: by(fault.AppOwner),
			Cause:  "The app {client_id} asks for a permission that is not among those of its registration.",
			Remedy: portal + "API permissions: add the delegated permissions that Mailgrant lists (IMAP.AccessAsUser.All, POP.AccessAsUser.All, SMTP.Send, User.Read, offline_access as used), and consent.",
		},
		{
			Codes: []int{700084}, Class: ClassConfigure, Who: by(fault.AppOwner), Field: "redirect_uri",
			Cause: "The redirect URI is registered as a single-page application, so the grant ends after 24 hours.", Remedy: portal + "Authentication: move the redirect URI from Single-page application to Web, then authorise again.",
		},
		{
			Codes: []int{700054}, Class: ClassConfigure, Who: by(fault.Operator),
			Cause: "The app {client_id} may not receive ID tokens from the authorization endpoint.", Remedy: "Mailgrant does not need that; report which address was opened.",
		},
		{
			Codes: []int{70011, 700022, 700023}, Class: ClassConfigure, Who: by(fault.Operator), Field: "profiles",
			Cause: "The scopes asked for do not fit together, or one of them does not exist.", Remedy: "Use scopes of one resource, each written in full (https://outlook.office.com/IMAP.AccessAsUser.All), or leave the profile out.",
		},
		{
			Codes: []int{500011, 7000229}, Class: ClassConfigure, Who: by(fault.TenantAdmin, fault.Operator), Field: "cloud",
			Cause: "The tenant {tenant} does not have the service that is asked for: wrong cloud, no Exchange Online, or no consent yet.", Remedy: "Check the setting cloud, that the tenant has Exchange Online, and run the admin consent.",
		},
		{
			Codes: []int{650052}, Class: ClassConfigure, Who: by(fault.TenantAdmin),
			Cause: "The organisation has no subscription for the service that is asked for.", Remedy: "Assign licences with Exchange Online.",
		},
	}
}
