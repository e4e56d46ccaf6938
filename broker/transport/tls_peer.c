/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/tls_peer.h"

#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

/* The one at that place of what the client sent: 0 is its own, those above come behind it. */
static struct bytes certificate_at(WOLFSSL *ssl, int i)
{
    WOLFSSL_X509_CHAIN *const chain = wolfSSL_get_peer_chain(ssl);
    const int count = chain == NULL ? 0 : wolfSSL_get_chain_count(chain);
    const int len = i < count ? wolfSSL_get_chain_length(chain, i) : 0;
    return len > 0 ? bytes_of(wolfSSL_get_chain_cert(chain, i), (size_t)len) : bytes_of(NULL, 0);
}

/* wolfSSL leaves out what finds no room: the first that is kept may be an authority's, which must
 * not give its name to the client. */
static bool is_kept(WOLFSSL *ssl, WOLFSSL_X509 *shown)
{
    int len = 0;
    const unsigned char *const der = wolfSSL_X509_get_der(shown, &len);
    return der != NULL && len > 0 &&
           bytes_equal(certificate_at(ssl, 0), bytes_of(der, (size_t)len));
}

void tls_peer_init(struct tls_peer *p, WOLFSSL *ssl, const struct tls_context *context)
{
    WOLFSSL_X509 *const shown = wolfSSL_get_peer_certificate(ssl);
    *p = (struct tls_peer){.shown = shown != NULL, .trust = tls_context_trust(context)};
    if (shown != NULL) {
        p->kept = is_kept(ssl, shown);
        wolfSSL_X509_free(shown);
    }
    if (p->kept && !certificate_names_decode(&p->names, certificate_at(ssl, 0))) {
        p->kept = false;
    }
}

enum tls_peer_cost tls_peer_cost(const struct tls_peer *p, const struct tls_context *now)
{
    const struct tls_trust trust = tls_context_trust(now);
    if (!p->shown || (p->trust.client_ca == trust.client_ca && p->trust.crl == trust.crl)) {
        return TLS_PEER_NOTHING;
    }
    return p->trust.client_ca == trust.client_ca ? TLS_PEER_LITTLE : TLS_PEER_MUCH;
}

/* Those between the client's and the root, as a handshake does: from above, each is checked, and
 * then trusted with those below it. */
static int check_one(WOLFSSL_CERT_MANAGER *trusted, struct bytes der, bool is_leaf,
                     bool revoked_only)
{
    if (is_leaf && revoked_only) {
        return wolfSSL_CertManagerCheckCRL(trusted, (unsigned char *)(uintptr_t)der.at,
                                           (int)der.len);
    }
    const int ret =
        wolfSSL_CertManagerVerifyBuffer(trusted, der.at, (long)der.len, WOLFSSL_FILETYPE_ASN1);
    if (ret != WOLFSSL_SUCCESS || is_leaf) {
        return ret;
    }
    return wolfSSL_CertManagerLoadCABuffer(trusted, der.at, (long)der.len, WOLFSSL_FILETYPE_ASN1);
}

static int check(WOLFSSL *ssl, WOLFSSL_CERT_MANAGER *trusted, bool revoked_only)
{
    WOLFSSL_X509_CHAIN *const chain = wolfSSL_get_peer_chain(ssl);
    for (int i = wolfSSL_get_chain_count(chain); i-- > 0;) {
        const int ret = check_one(trusted, certificate_at(ssl, i), i == 0, revoked_only);
        if (ret != WOLFSSL_SUCCESS) {
            return ret;
        }
    }
    return WOLFSSL_SUCCESS;
}

bool tls_peer_is_good(struct tls_peer *p, WOLFSSL *ssl, const struct tls_context *now,
                      const char **why)
{
    const enum tls_peer_cost cost = tls_peer_cost(p, now);
    if (cost == TLS_PEER_NOTHING) {
        return true;
    }
    if (!p->kept) {
        *why = "its certificate was too large to be kept, and cannot be checked again";
        return false;
    }
    const int ret = check(ssl, tls_context_trusted(now), cost == TLS_PEER_LITTLE);
    if (ret != WOLFSSL_SUCCESS) {
        *why = wolfSSL_ERR_reason_error_string((unsigned long)ret);
        return false;
    }
    p->trust = tls_context_trust(now);
    return true;
}
