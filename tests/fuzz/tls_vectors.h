/* SPDX-License-Identifier: Apache-2.0 */
/* Made by tls_vectors.py, for tests: an authority, a server, and a client, for a hundred years. */
#pragma once

/* clang-format off */
static const char authority_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBkDCCATWgAwIBAgIUUtk2eef3+3MiY5Oqz9/m39CEPZ8wCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyNzIxMjgyMVoYDzIxMjYxMTAz\n"
    "MjEyODIxWjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAAR72Mgvy8LHHPgm/cgj6WFHTezQG+Mssgen9tMIJhzzdnXcHwov0h2j\n"
    "XV6Xa8dM+qp7ngIqnSHEiPvm8Vr3nHFdo2MwYTAdBgNVHQ4EFgQUYsl9T5nHlpte\n"
    "HqJkRm39vEjQUJUwHwYDVR0jBBgwFoAUYsl9T5nHlpteHqJkRm39vEjQUJUwDwYD\n"
    "VR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQwCgYIKoZIzj0EAwIDSQAwRgIh\n"
    "AJLR1z1585YH0dSQdWvtWSBDXMTT7dDIvNJmiqlFc7nNAiEAlVzwDY+aWLknQFTT\n"
    "eD8MCCfkqDBo/nOJM+uXnijxoxw=\n"
    "-----END CERTIFICATE-----\n";
static const char server_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIByTCCAW6gAwIBAgIUUol6A+0WZjshASc55WhzLghPwxMwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyNzIxMjgyMVoYDzIxMjYxMTAz\n"
    "MjEyODIxWjARMQ8wDQYDVQQDDAZzZXJ2ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
    "BwNCAASeMWfmTipmkXMLqs/rXdKZAPmLEI/RNRYMvp3wtlrcT2R4mHLdJxVYaHt5\n"
    "685DvjbRK7mdL6WUzJe+3IHW0TZqo4GeMIGbMDcGA1UdEQQwMC6CC3NlcnZlci50\n"
    "ZXN0hgp1cm46c2VydmVygRNzZXJ2ZXJAZXhhbXBsZS50ZXN0MBMGA1UdJQQMMAoG\n"
    "CCsGAQUFBwMBMAsGA1UdDwQEAwIHgDAdBgNVHQ4EFgQUzcvYNgawGXbjG0Ko8b4K\n"
    "kvGL4kEwHwYDVR0jBBgwFoAUYsl9T5nHlpteHqJkRm39vEjQUJUwCgYIKoZIzj0E\n"
    "AwIDSQAwRgIhAKgcLCfrwdZyzZyKSiezcGZ7tJTIrk/coKHm9c7uXohsAiEAnke6\n"
    "2sW1iDM7EwyXtcyxHExwxgHI8bl6SFovCK0o2Mg=\n"
    "-----END CERTIFICATE-----\n";
static const char server_key[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIPBwFUiP9nFNP00SCoc+XAiW/7BFiEs+kGpo7PknptiMoAoGCCqGSM49\n"
    "AwEHoUQDQgAEnjFn5k4qZpFzC6rP613SmQD5ixCP0TUWDL6d8LZa3E9keJhy3ScV\n"
    "WGh7eevOQ7420Su5nS+llMyXvtyB1tE2ag==\n"
    "-----END EC PRIVATE KEY-----\n";
static const char client_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIByDCCAW6gAwIBAgIUUol6A+0WZjshASc55WhzLghPwxQwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyNzIxMjgyMVoYDzIxMjYxMTAz\n"
    "MjEyODIxWjARMQ8wDQYDVQQDDAZjbGllbnQwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
    "BwNCAARua94zo9EILcl2O1fmQoPs/BSUMq54HGg7yUTX4tpIB3uon0s4UXr9rlGx\n"
    "dXDQ/XUfx0VppNY3/e2iZH6huap3o4GeMIGbMDcGA1UdEQQwMC6CC2NsaWVudC50\n"
    "ZXN0hgp1cm46Y2xpZW50gRNjbGllbnRAZXhhbXBsZS50ZXN0MBMGA1UdJQQMMAoG\n"
    "CCsGAQUFBwMCMAsGA1UdDwQEAwIHgDAdBgNVHQ4EFgQUtJ0eTQOtrJ9fCRPlzKmy\n"
    "L6YlF8QwHwYDVR0jBBgwFoAUYsl9T5nHlpteHqJkRm39vEjQUJUwCgYIKoZIzj0E\n"
    "AwIDSAAwRQIgYyV/IyJX6PWV1+gV3hBuyxR68f+M4vLEzlczHqGKkNgCIQCMS3a1\n"
    "31OoupDj0sErPa2jBeAmk/iNFpe7znnYRwcXFQ==\n"
    "-----END CERTIFICATE-----\n";
static const char client_key[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIB5IrUFCQhoolW4RU1EPpKi1D7sT8HJbFXhljiJ17Wq/oAoGCCqGSM49\n"
    "AwEHoUQDQgAEbmveM6PRCC3JdjtX5kKD7PwUlDKueBxoO8lE1+LaSAd7qJ9LOFF6\n"
    "/a5RsXVw0P11H8dFaaTWN/3tomR+obmqdw==\n"
    "-----END EC PRIVATE KEY-----\n";
/* clang-format on */
