package entra

import (
	"fmt"
	"net/http"
)

// problem is a refusal in Entra's manner: an OAuth error code for programs, an AADSTS number and a sentence for people.
type problem struct {
	aadsts   int
	oauth    string
	suberror string
	status   int
	text     string
}

func (p *problem) Error() string { return fmt.Sprintf("AADSTS%d: %s", p.aadsts, p.text) }

// outcome names the problem in the list of calls.
func (p *problem) outcome() string { return fmt.Sprintf("AADSTS%d", p.aadsts) }

// known is one line of the catalogue: how Entra classes a number, and the sentence it goes with.
type known struct {
	oauth  string
	status int
	text   string
}

// catalogue holds the numbers that this sandbox can answer with. A sentence with verbs of fmt is completed by whoever refuses.
//
// The classes follow Microsoft's reference of error codes; where it is silent, the closest error of RFC 6749 is used.
var catalogue = map[int]known{
	16000:   {"interaction_required", 400, "Either multiple user identities are available for the current request or the selected account is not supported for the scenario."},
	50011:   {"invalid_request", 400, "The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'. Make sure the redirect URI sent in the request matches one added to your application."},
	50013:   {"invalid_grant", 400, "Assertion failed signature validation."},
	50020:   {"invalid_grant", 400, "User account '%s' from identity provider '%s' does not exist in tenant '%s' and cannot access the application '%s' in that tenant. The account needs to be added as an external user in the tenant first. Sign out and sign in again with a different account."},
	50034:   {"invalid_grant", 400, "The user account %s does not exist in the directory. To sign into this application, the account must be added to the directory."},
	50053:   {"invalid_grant", 400, "The account is locked, you've tried to sign in too many times with an incorrect user ID or password."},
	50055:   {"invalid_grant", 400, "The password is expired."},
	50057:   {"invalid_grant", 400, "The user account is disabled."},
	50058:   {"login_required", 400, "A silent sign-in request was sent but no user is signed in."},
	50059:   {"invalid_request", 400, "No tenant-identifying information found in either the request or implied by any provided credentials."},
	50076:   {"interaction_required", 400, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource."},
	50079:   {"interaction_required", 400, "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in multi-factor authentication."},
	50089:   {"invalid_grant", 400, "Authentication failed due to flow token expired. Go back to the application and start the sign-in again."},
	50105:   {"invalid_grant", 400, "Your administrator has configured the application to block users unless they are specifically granted access to it."},
	50126:   {"invalid_grant", 400, "Error validating credentials due to invalid username or password."},
	50132:   {"invalid_grant", 400, "The session is not valid due to password expiration or recent password change."},
	50133:   {"invalid_grant", 400, "Session is invalid due to expiration or recent password change."},
	50147:   {"invalid_request", 400, "Missing or invalid value of the code challenge parameter: %s."},
	50173:   {"invalid_grant", 400, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '%s' and the TokensValidFrom date (before which tokens are not valid) for this user is '%s'."},
	50194:   {"invalid_request", 400, "Application '%s' is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps. Use a tenant-specific endpoint or configure the application to be multi-tenant."},
	50196:   {"invalid_grant", 400, "The server terminated an operation because it encountered a client request loop."},
	53003:   {"interaction_required", 400, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."},
	54005:   {"invalid_grant", 400, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."},
	65001:   {"invalid_grant", 400, "The user or administrator has not consented to use the application with ID '%s' named '%s'. Send an interactive authorization request for this user and resource."},
	65004:   {"access_denied", 400, "User declined to consent to access the app."},
	70000:   {"invalid_grant", 400, "%s"},
	70003:   {"unsupported_grant_type", 400, "The app requested an unsupported grant type '%s'."},
	70007:   {"unsupported_response_type", 400, "'%s' is not a supported value of 'response_mode' when requesting a code."},
	70008:   {"invalid_grant", 400, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource."},
	70011:   {"invalid_scope", 400, "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. %s"},
	70043:   {"invalid_grant", 400, "The refresh token has expired or is invalid due to sign-in frequency checks by Conditional Access."},
	90002:   {"invalid_request", 400, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."},
	90005:   {"invalid_request", 400, "Unable to complete the request. The request is not valid since multiple identifiers can't be used together: login_hint and prompt=select_account."},
	90006:   {"temporarily_unavailable", 503, "The service is temporarily unavailable. Please retry later."},
	90013:   {"invalid_request", 400, "Invalid input received from the user: %s."},
	90014:   {"invalid_request", 400, "The required field '%s' is missing from the credential. Ensure that you have all the necessary parameters for the request."},
	90023:   {"invalid_request", 400, "Unsupported 'prompt' value '%s'."},
	90033:   {"temporarily_unavailable", 503, "A transient error has occurred. Please try again."},
	90055:   {"temporarily_unavailable", 429, "The tenant is throttled because of too many incoming requests."},
	90094:   {"access_denied", 400, "%s needs permission to access resources in your organization that only an admin can grant. Please ask an admin to grant permission to this app before you can use it."},
	90095:   {"access_denied", 400, "Admin consent is required for the permissions requested by %s. An admin consent request may be sent to the admin."},
	135010:  {"invalid_grant", 400, "Key was not found."},
	500011:  {"invalid_resource", 400, "The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant."},
	500112:  {"invalid_grant", 400, "The reply address '%s' does not match the reply address provided when requesting Authorization code."},
	500113:  {"invalid_request", 400, "No reply address is registered for the application."},
	501481:  {"invalid_grant", 400, "The Code_Verifier does not match the code_challenge supplied in the authorization request."},
	650053:  {"invalid_client", 400, "The application '%s' asked for scope '%s' that doesn't exist on the resource '%s'."},
	700005:  {"invalid_grant", 400, "The provided authorization code is intended to be redeemed in another tenant: '%s'."},
	700016:  {"unauthorized_client", 400, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant."},
	700025:  {"invalid_client", 401, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."},
	700027:  {"invalid_client", 401, "The certificate with which the client assertion is signed is not registered on the application."},
	700054:  {"unsupported_response_type", 400, "response_type '%s' is not enabled for the application. Only 'code' is."},
	700082:  {"invalid_grant", 400, "The refresh token has expired due to inactivity. The token was issued on %s and was inactive for 90.00:00:00."},
	900144:  {"invalid_request", 400, "The request body must contain the following parameter: '%s'."},
	900561:  {"invalid_request", 405, "The endpoint only accepts %s requests. Received a %s request."},
	901002:  {"invalid_request", 400, "The 'resource' request parameter isn't supported."},
	1002012: {"invalid_scope", 400, "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."},
	7000112: {"unauthorized_client", 400, "Application '%s'(%s) is disabled."},
	7000215: {"invalid_client", 401, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'."},
	7000218: {"invalid_client", 401, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
	7000222: {"invalid_client", 401, "The provided client secret keys for app '%s' are expired. Create new keys for your app in the portal, or consider using certificate credentials for added security."},
	9001023: {"invalid_request", 400, "The grant type '%s' isn't supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint."},
	9002313: {"invalid_grant", 400, "Invalid request. Request is malformed or invalid."},
	9002332: {"invalid_request", 400, "Application '%s' is configured for use by work or school users only. Please do not use the /consumers endpoint to serve this request."},
}

// refuse makes a problem out of the catalogue. args complete the sentence.
func refuse(aadsts int, args ...any) *problem {
	entry, found := catalogue[aadsts]
	if !found {
		return &problem{aadsts: aadsts, oauth: "invalid_grant", status: http.StatusBadRequest, text: "The request was refused."}
	}
	p := &problem{aadsts: aadsts, oauth: entry.oauth, status: entry.status, text: entry.text}
	if len(args) > 0 {
		p.text = fmt.Sprintf(entry.text, args...)
	}
	switch aadsts {
	case 65001:
		p.suberror = "consent_required"
	case 50076, 50079, 16000:
		p.suberror = "basic_action"
	case 53003:
		p.suberror = "message_only"
	case 50173, 700082, 70000, 70008, 70043:
		p.suberror = "bad_token"
	}
	return p
}

// ordered makes the problem that somebody ordered by number through a fault, whose sentence has nothing to be completed with.
func ordered(aadsts int) *problem {
	if aadsts == 0 {
		aadsts = 70000
	}
	p := refuse(aadsts)
	p.text = fmt.Sprintf("The request was refused because the sandbox was told to answer AADSTS%d.", aadsts)
	return p
}
