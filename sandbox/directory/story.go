package directory

// Story is a world as it is before anything happens.
type Story struct {
	Tenants       []Tenant
	Users         []User
	Registrations []Registration
	Mailboxes     []Mailbox
}

// What the default story is made of. Passwords and secrets are made up; they open nothing but a sandbox.
const (
	StoryTenantID       = "5a2b1c00-7e57-4000-8000-76626370006e"
	StoryDomain         = "vbcpn.onmicrosoft.com"
	StoryForeignTenant  = "fab00000-7e57-4000-8000-0000000000ff"
	StoryForeignDomain  = "fabrikam-sandbox.example"
	StoryClientID       = "11111111-2222-3333-4444-555555555555"
	StoryClientSecret   = "made-up~secret-of-the-sandbox"
	StoryMultiClientID  = "22222222-3333-4444-5555-666666666666"
	StoryMultiSecret    = "made-up~secret-for-every-tenant"
	StoryPublicClientID = "33333333-4444-5555-6666-777777777777"
	StoryDesk           = "servicedesk@" + StoryDomain
	StoryDeskAlias      = "helpdesk@" + StoryDomain
	StoryDeskPassword   = "made-up-password-of-the-desk"
	StoryAdele          = "AdeleV@" + StoryDomain
	StoryAdelePassword  = "made-up-password-of-adele"
	StoryMegan          = "MeganB@" + StoryDomain
	StoryMeganPassword  = "made-up-password-of-megan"
	StoryScans          = "scans@" + StoryDomain
	StoryForeigner      = "mallory@" + StoryForeignDomain
	StoryForeignerPass  = "made-up-password-of-mallory"
)

// storyScopes are the permissions that the administrator granted to the story's app.
func storyScopes() []string {
	return []string{
		"https://outlook.office.com/IMAP.AccessAsUser.All",
		"https://outlook.office.com/POP.AccessAsUser.All",
		"https://outlook.office.com/SMTP.Send",
		"https://graph.microsoft.com/User.Read",
		"https://graph.microsoft.com/Mail.Send",
		"https://graph.microsoft.com/Mail.Send.Shared",
		"https://graph.microsoft.com/openid",
		"https://graph.microsoft.com/profile",
		"https://graph.microsoft.com/email",
		"https://graph.microsoft.com/offline_access",
	}
}

// DefaultStory is the story of the reference system. Adele administers the tenant and is usually already signed in; the mailbox
// to connect is the service desk's; a shared mailbox takes the scanner's pages; and in a foreign tenant somebody carries the
// desk's address as an e-mail address that nobody has verified. The redirect URIs are registered with each of its apps.
func DefaultStory(redirectURIs ...string) Story {
	const adele, desk = "ade1e000-7e57-4000-8000-000000000001", "de5c0000-7e57-4000-8000-000000000002"
	return Story{
		Tenants: []Tenant{
			{ID: StoryTenantID, Name: "Contoso Sandbox", Domains: []string{StoryDomain}},
			{ID: StoryForeignTenant, Name: "Fabrikam Sandbox", Domains: []string{StoryForeignDomain}},
		},
		Users: []User{
			{TenantID: StoryTenantID, ObjectID: adele, UPN: StoryAdele, DisplayName: "Adele Vance", Password: StoryAdelePassword, Admin: true},
			{
				TenantID: StoryTenantID, ObjectID: desk, UPN: StoryDesk, DisplayName: "Service Desk", Password: StoryDeskPassword,
				Aliases: []string{StoryDeskAlias},
			},
			{TenantID: StoryTenantID, ObjectID: "3e6a0000-7e57-4000-8000-000000000003", UPN: StoryMegan, DisplayName: "Megan Bowen", Password: StoryMeganPassword},
			{
				TenantID: StoryForeignTenant, ObjectID: "3a110000-7e57-4000-8000-000000000004", UPN: StoryForeigner, DisplayName: "Service Desk",
				Password: StoryForeignerPass, Email: StoryDesk,
			},
		},
		Registrations: []Registration{
			{
				TenantID: StoryTenantID, ClientID: StoryClientID, Name: "Mail connector",
				Secrets:      []ClientSecret{{ID: "5ec0e700-7e57-4000-8000-000000000001", Value: StoryClientSecret}},
				RedirectURIs: redirectURIs, AdminConsented: storyScopes(),
				AppRoles:           []string{"https://outlook.office365.com/IMAP.AccessAsApp", "https://outlook.office365.com/SMTP.SendAsApp"},
				ServicePrincipalID: "5e4f1ce0-7e57-4000-8000-000000000001",
			},
			{
				TenantID: StoryTenantID, ClientID: StoryMultiClientID, Name: "Mail connector for every tenant", MultiTenant: true,
				Secrets:      []ClientSecret{{ID: "5ec0e700-7e57-4000-8000-000000000002", Value: StoryMultiSecret}},
				RedirectURIs: redirectURIs, AdminConsented: storyScopes(),
				ServicePrincipalID: "5e4f1ce0-7e57-4000-8000-000000000002",
			},
			{
				TenantID: StoryTenantID, ClientID: StoryPublicClientID, Name: "Mail connector on a desktop", Public: true,
				RedirectURIs: redirectURIs,
			},
		},
		Mailboxes: []Mailbox{
			{
				Address: StoryScans, TenantID: StoryTenantID, DisplayName: "Scans",
				FullAccess: []string{StoryAdele}, SendAs: []string{StoryAdele},
			},
		},
	}
}
