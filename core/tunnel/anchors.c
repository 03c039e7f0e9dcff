/* anchors.c: Cloudflare's roots that are trusted beside the system's, as RFC 5914 trust anchors: a name and a
 * key.
 *
 * The certificates are published at https://developers.cloudflare.com/ssl/origin-configuration/origin-ca/ and
 * …/authenticated-origin-pull/. "spki" is the SHA-256 of the public key as
 * `openssl pkey -pubin -outform DER | sha256sum` prints it, "certificate" that of the whole certificate. */
#include "tunnel/tls.h"

const struct tls_anchor tls_anchors[TLS_ANCHORS] = {
    /* Origin CA, ECC.
     * spki        9114b3916b6457dbf19b6fc04ea6b61aa33a98668e71a01ba60c08f8a5167d5e
     * certificate aa63697a22764b67b2134ce14cb5690ea336940b93986113f49545917832d80d */
    {
        .subject =
            {
                { "C", "US" },
                { "ST", "California" },
                { "L", "San Francisco" },
                { "O", "CloudFlare, Inc." },
                { "OU", "CloudFlare Origin SSL ECC Certificate Authority" },
            },
        .not_after = "20290815170000Z",
        .key =
            "-----BEGIN PUBLIC KEY-----\n"
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkfrBgC7mhrIZ1G3MSq8vtCxF2eDW\n"
            "OiVALUngOoPOyt42gMaSIPRudD6JKX1pIW2qy36XGbtFAKGMtrLtBITe8A==\n"
            "-----END PUBLIC KEY-----\n",
    },
    /* Origin CA, RSA.
     * spki        b6e8c8ca4c7ca5e6934efea031364927bbfedf086229499a60d83b5d587222b7
     * certificate d3c7e85c91707fc0a12abc5d88266747aa4fa8e7b162f633ffb3c9d989947620 */
    {
        .subject =
            {
                { "C", "US" },
                { "O", "CloudFlare, Inc." },
                { "OU", "CloudFlare Origin SSL Certificate Authority" },
                { "L", "San Francisco" },
                { "ST", "California" },
            },
        .not_after = "20290815170000Z",
        .key =
            "-----BEGIN PUBLIC KEY-----\n"
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwEiVZ/UoQpHmFsHvk5is\n"
            "BxRehukP8DG9JhFev3WZtG76WoTthvLJFRKFCHXmV6Z5/66Z4S09mgsUuFwvJzMn\n"
            "E6Ej6yIsYNCb9r9QORa8BdhrkNn6kdTly3mdnykbOomnwbUfLlExVgNdlP0XoRoe\n"
            "MwbQ4598foiHblO2B/LKuNfJzAMfS7oZe34b+vLByrP/1bgCSLdc1AxQc1AC0EsQ\n"
            "QhgcyTJNgnG4va1c7ogPlwKyhbDyZ4e59N5lbYPJSmXI/cAe3jXj1FBLJZkwnoDK\n"
            "e0v13xeF+nF32smSH0qB7aJX2tBMW4TWtFPmzs5IlwrFSySWAdwYdgxw180yKU0d\n"
            "vwIDAQAB\n"
            "-----END PUBLIC KEY-----\n",
    },
    /* Authenticated origin pull.
     * spki        e2ef9fe85ac39f522dc773505f399875aa75ac10c49766ca899f8f99b07da34c
     * certificate 9a1ac2b4be15f9f27eee20a734cba4e9898f61001b3bd7c84b69b56a3e25a2b9 */
    {
        .subject =
            {
                { "C", "US" },
                { "O", "CloudFlare, Inc." },
                { "OU", "Origin Pull" },
                { "L", "San Francisco" },
                { "ST", "California" },
                { "CN", "origin-pull.cloudflare.net" },
            },
        .not_after = "20291101170000Z",
        .key =
            "-----BEGIN PUBLIC KEY-----\n"
            "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEA3bLbOiNh+XRsp+GnQAkE\n"
            "V5X6NCpsLDewea8Q/AuaoMurKcjja1ldHnL3XhkH1mvBsv8rk7jp7F38u6MmdXZv\n"
            "d3NzHmu2JDOyjTHOWOpudtBPbR6KHH9asXg6RkrJ1nOx1omxYA+6mUMfk/snzare\n"
            "t7zyNB2ATmGqOoVndyUIbuXGgHCEtprObc0kmVR/N2T3ui5G+cUYC5d3lxBXHyNg\n"
            "455TrSxaqYx7hAd06+moH3VsmhhBIpUWNSAd5Ok3y02kol9v0sifem6fdsL00o0e\n"
            "1Eow1fcqX+wA+rur8CWd28DYrDcOS6baYdBQZ3NUepw6B5r0EaMsraHtK5f3fNNY\n"
            "vTa7v312vpeStp39ZKEdyF+ONGdovfmeIlQOvTZgm0+DFY5uyt85TrcHyO4tSmFb\n"
            "/gE6OMnIAbmX2PX/9pQYSL+wR7mWpW/Q/vxCvGjFH4wxeInBBpvkUHxMb9pzqZEe\n"
            "AX0KaRf3S5pGH44LTteNN19IoZE+kz2EHZmEuiX+d/yqagt2gPke84Nm4q7b6a4p\n"
            "5UdeDDb8DrAzs7CuKfFmLIGTkeEK9oAMfs9mlTrP/O/k1TkdK9eIq0LMW4O7j9l+\n"
            "LfhF8dd4JR8cBvgp81FcnAyzFRr7hmlIBfYbpGcZTmZ65elTn9X4NAmn97r1fLJj\n"
            "pFcOgzLBoQWUiVcGqNFEDakCAwEAAQ==\n"
            "-----END PUBLIC KEY-----\n",
    },
};
