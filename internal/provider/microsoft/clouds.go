package microsoft

// cloud is one of Microsoft's clouds as data. Authority and Graph hosts are
// from Microsoft's own pages on national clouds; mail and scope hosts of the
// national clouds are as other products use them.
type cloud struct {
	name      string
	authority string // base URL of Entra ID
	graph     string // base URL of Microsoft Graph
	imap      string // host, POP3 too
	smtp      string // host
	scope     string // what scopes for IMAP, POP3 and SMTP begin with
	// scopeHosts are the hosts that a profile's mail scopes may name.
	scopeHosts []string
	graphScope string // what scopes for Graph begin with
}

// clouds lists them, the default first.
func clouds() []cloud {
	return []cloud{
		{
			name: "global", authority: "https://login.microsoftonline.com", graph: "https://graph.microsoft.com",
			imap: "outlook.office365.com", smtp: "smtp.office365.com",
			scope: "https://outlook.office.com", scopeHosts: []string{"outlook.office.com", "outlook.office365.com"},
			graphScope: "https://graph.microsoft.com",
		},
		{
			name: "us-gov-high", authority: "https://login.microsoftonline.us", graph: "https://graph.microsoft.us",
			imap: "outlook.office365.us", smtp: "smtp.office365.us",
			scope: "https://outlook.office365.us", scopeHosts: []string{"outlook.office365.us"},
			graphScope: "https://graph.microsoft.us",
		},
		{
			name: "us-gov-dod", authority: "https://login.microsoftonline.us", graph: "https://dod-graph.microsoft.us",
			imap: "outlook-dod.office365.us", smtp: "outlook-dod.office365.us",
			scope: "https://outlook.office365.us", scopeHosts: []string{"outlook.office365.us", "outlook-dod.office365.us", "webmail.apps.mil"},
			graphScope: "https://dod-graph.microsoft.us",
		},
		{
			name: "china", authority: "https://login.partner.microsoftonline.cn", graph: "https://microsoftgraph.chinacloudapi.cn",
			imap: "partner.outlook.cn", smtp: "partner.outlook.cn",
			scope: "https://partner.outlook.cn", scopeHosts: []string{"partner.outlook.cn"},
			graphScope: "https://microsoftgraph.chinacloudapi.cn",
		},
	}
}

// cloudNamed gives a cloud; an unknown or empty name gives the first, which
// Check does not let through unless it is empty.
func cloudNamed(name string) cloud {
	all := clouds()
	for _, c := range all {
		if c.name == name {
			return c
		}
	}
	return all[0]
}
