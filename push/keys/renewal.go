package keys

import "encoding/binary"

// The two signatures of a renewal differ in context, or one key could give
// both.
const (
	contextRenewalOld = "keyhole-push.v1 renewal old"
	contextRenewalNew = "keyhole-push.v1 renewal new"
)

// SignRenewal signs the replacement of a client's key with the old key and
// with the new one: the session token it is for, the new key's Bytes, the
// offset in milliseconds and the epoch after it (both 8 bytes big endian), and
// the nonce that the server gave. The old signature says that the holder wants
// it, the new one that it has the key.
func SignRenewal(old, new *Private, session string, offset int64, epoch uint64, nonce []byte) (oldSig, newSig []byte, err error) {
	parts := renewalParts(new.Public(), session, offset, epoch, nonce)
	if oldSig, err = old.Sign(contextRenewalOld, parts...); err != nil {
		return nil, nil, err
	}
	if newSig, err = new.Sign(contextRenewalNew, parts...); err != nil {
		return nil, nil, err
	}
	return oldSig, newSig, nil
}

// VerifyRenewal reports whether both signatures are those of SignRenewal with
// these very values.
func VerifyRenewal(old, new Public, session string, offset int64, epoch uint64, nonce, oldSig, newSig []byte) bool {
	parts := renewalParts(new, session, offset, epoch, nonce)
	return old.Verify(oldSig, contextRenewalOld, parts...) && new.Verify(newSig, contextRenewalNew, parts...)
}

func renewalParts(new Public, session string, offset int64, epoch uint64, nonce []byte) [][]byte {
	return [][]byte{
		[]byte(session),
		new.Bytes(),
		binary.BigEndian.AppendUint64(nil, uint64(offset)),
		binary.BigEndian.AppendUint64(nil, epoch),
		nonce,
	}
}
