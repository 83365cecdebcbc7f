package routes

import "golang.org/x/net/idna"

// lookup maps as browsers do (UTS 46, non-transitional), but leaves hyphens and underscores to the checks that ASCII
// names go through.
var lookup = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// toALabels rewrites the labels of a name that are outside ASCII as A-labels (RFC 5890 section 2.3.2.1). Its error is
// ErrBadIDN: what IDNA has to say quotes the name, and a client chose that.
func toALabels(name string) (string, error) {
	ascii, err := lookup.ToASCII(name)
	if err != nil {
		return "", ErrBadIDN
	}
	return ascii, nil
}
