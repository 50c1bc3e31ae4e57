// Package exchange imitates the mail side of Exchange Online: IMAP over
// implicit TLS and SMTP submission with STARTTLS, both signed in to with
// XOAUTH2 only, over mailboxes kept in memory. It exists so that tests and the
// demo can meet Exchange's own refusals, texts and limits without Microsoft.
//
// The package knows no user, no password and no key. It asks a [Directory]
// whose access token it was shown, which mailboxes exist and who may open or
// send as whom; the rest (folders, UIDs, pushes, submission rules) is here.
// Mail really moves: what is accepted by submission lands in the sender's
// Sent Items and in the INBOX of every hosted recipient, and wakes their IDLE.
//
// # Texts
//
// Replies are Exchange's where they are known: the greeting and capabilities of
// IMAP, "NO AUTHENTICATE failed." without a JSON challenge, "BAD User is
// authenticated but not connected." followed by "* BYE Connection closed. 14",
// "* BYE Session invalidated - AccessTokenExpired" when the access token runs out,
// and the 235, 250, 421, 430, 432, 530, 535, 550, 552 and 554 replies of
// submission. Both protocol libraries have some texts of their own, so each
// connection runs through a small dialect (imapdialect.go, smtpdialect.go) that
// sits between TLS and the library and puts Exchange's words in their place.
//
// # Deviations
//
//   - Untagged OK texts of SELECT ("UIDs valid"), "+ idling", "UID FETCH
//     completed." and replies to malformed arguments on both protocols are the
//     libraries' wording.
//   - The EHLO reply lists CHUNKING and PIPELINING as Exchange does, but in the
//     library's order, and leaves out DSN and BINARYMIME.
//   - "mailbox logon failure" and "SendAsDenied" carry no diagnostic block.
//   - Nothing is kept on disk; UIDVALIDITY starts from the directory's clock.
package exchange
