/* SPDX-License-Identifier: Apache-2.0 */
/* Made by token_vectors.py: a key and a token of each algorithm, of "alice", until 2000000000. */
/* clang-format off */
static const struct {
    const char *alg, *jwks, *pem, *token; /* pem: NULL for secrets, and where it would be for RS256 */
} vectors[] __attribute__((unused)) = {
    {"HS256",
     "{\"keys\": [{\"kty\": \"oct\", \"k\": \"pe8LV-HAIg1eY9dDo56BteYqvTHBfxzyv2HkGjpM4axaS1aC"
     "I1oWDEBTG99Q6B2MpP4Z9u8F3Oe72AOWLf3n9Q\", \"kid\": \"HS256-key\", \"alg\": \"HS256\", \""
     "use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0._kKRvbsWmc_QF1zMBvMZrlZpt0fwbBjPtiH11vTvq2I"},
    {"HS384",
     "{\"keys\": [{\"kty\": \"oct\", \"k\": \"h2cFzA8VS70RDLuMsFpG059k3m92CHDFQlV-quLEd3DaDWXR"
     "OXFYkmmsdPRPV8YNMFXiYJgj4n3oaSRbhpk5Uw\", \"kid\": \"HS384-key\", \"alg\": \"HS384\", \""
     "use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6IkhTMzg0LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.JorrnIVnsUwoUrkmrIuIVpRz14-Z1b2vS0RYOwwI_vpZJBo3Y3A0tQ0OS9--v5Q9"},
    {"HS512",
     "{\"keys\": [{\"kty\": \"oct\", \"k\": \"vL4zRQAYKAXYXSEHnyqiSVfNwN7QCZGtiEbM1guPLYudAOqy"
     "ZHYLX59woI9WGuJb06VdAYRC8h49hMKdkDAoVA\", \"kid\": \"HS512-key\", \"alg\": \"HS512\", \""
     "use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCIsImtpZCI6IkhTNTEyLWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.rpnWUFlecl-HytyZyJ6ex-piGPWpfEz3DSoFIsiJMumtMo7MIB6eFDDig131G4080ty"
     "4w_jDkLycn-Mmi8WcKA"},
    {"RS256",
     "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"rQ51AWKY5_pZfSPESVFgLH4Hw60tVD-agAo9UVmHU_M1o8Uv"
     "tWT6llvwrY7AkxBSBd8m4C4qA7ZgkbqYB8TrEGYaDAJYYQBgeiIMrx_hEur9KFNN1CcugBo4tv5qKvjhY1Mx1flL"
     "CeiXMXn2opGrTjKvCsSzjP_lTnTcP_bTbbtAuc4Zjx4UjbkqFX1phM5mK8BSMZwLCHQwQmHqSZsh8MvyT7DK9I9R"
     "TAitqMb58VMsrVrKdLZpOILjL60Nq8fdvqpCDYsxhuYW9rHNumh8YRtJyPMgKlS4WvJf2PGSsdA3BpioaBfq5OwE"
     "8UrLur4S5Fro6wmz3LQ4WPG85Ic1UQ\", \"e\": \"AQAB\", \"kid\": \"RS256-key\", \"alg\": \"RS"
     "256\", \"use\": \"sig\"}]}",
     "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArQ51AWKY5/pZfSPE"
     "SVFg\nLH4Hw60tVD+agAo9UVmHU/M1o8UvtWT6llvwrY7AkxBSBd8m4C4qA7ZgkbqYB8Tr\nEGYaDAJYYQBgeiIM"
     "rx/hEur9KFNN1CcugBo4tv5qKvjhY1Mx1flLCeiXMXn2opGr\nTjKvCsSzjP/lTnTcP/bTbbtAuc4Zjx4UjbkqFX"
     "1phM5mK8BSMZwLCHQwQmHqSZsh\n8MvyT7DK9I9RTAitqMb58VMsrVrKdLZpOILjL60Nq8fdvqpCDYsxhuYW9rHN"
     "umh8\nYRtJyPMgKlS4WvJf2PGSsdA3BpioaBfq5OwE8UrLur4S5Fro6wmz3LQ4WPG85Ic1\nUQIDAQAB\n-----E"
     "ND PUBLIC KEY-----\n",
     "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IlJTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.nNiiLwxPp0PSmkjv9Jqr6eSc5pgTiyUxCgm0fD9QjxbZcdcX6_wx6LRQQ9zNq_akMnS"
     "Ab8DJahyWg2O4tp4_VgeXjNnuuF6-tsuPg9yG7b-Zgc6BMtUJnL2f4YEiZjCsdGUgrnteGaTIkAG26HZnFL1-x_A"
     "DbP21_m4M64m0tq0JEM9N47rxm21O5rSTvglpa7xr_hJXtIal4nqoXxfgcS2RW-idIdi-qZw_OtepSCkpr9t1XRI"
     "Ci5O2f0rfiYTFbtNYes5gCfG9XAt9X3Wx4ISGgdjO-ehN99btw-MQcLiw3h-tr6pXNeDzZxiVBCKDM0q10IaoYbd"
     "SQg88vc_wog"},
    {"RS384",
     "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"nrqrbSoLQQW5reZQCKOHzrXjnSyNd1O_nLRQXIK8epPbIvi-"
     "IYvkk36YaMdaYp1lIZ29Hnw1UfvLuBlVTz81J4kaJJqT_NI_Io2DblgaWdIkgBhvEv2cgMp58vgBfQ8vpB-ojzrT"
     "yYCu5-sBkOBIDXl0il7b0zuaoGxNJNUQ8JHtwdG02hh-x7Q6b7Uzz5SbJoae0anO3nlUm01TnHNf0HTfDaq_Gb5W"
     "0hRCEoPHLcpripu3HYhPb_ImkezNseqYWQ6iJcw1sHYwifFMjd4Dyumx58L5KixjusXJWCAdwai1rHAcjhmvYHH5"
     "IYoTo81LPYnTf67kBL_z0d5kr92xpQ\", \"e\": \"AQAB\", \"kid\": \"RS384-key\", \"alg\": \"RS"
     "384\", \"use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJSUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6IlJTMzg0LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.PiOa6ain0-TTtCE9N-TUqBQufaMMMlYHCz_GbvnSWqdmEJyewVCiXaJVv-fPADnAPrI"
     "FKmPkkJ0XHb8yaeMJCJOIzc8ED75_NvU9gXRol6lCnxEgb00GEufwd8PQD2uyxkMqapfVOefVT8fWvarUs6Aqiwe"
     "r_ZMCwmrNOCGKjOb9JvuGSU47O2GRVzo5llDXx43zxGhwvK6I9eOOrgg7ozEQbrEyatvvayxcvtAtieLDy8zVV18"
     "h-12Nlmmnc-4vpR975bbFGIKQU9O2kY-cKRuWzR2c3R3yGShq46UmwXeNl3H4uePNMqFwEx_lsxFhepZdDYF12XZ"
     "nNAN8wH0t9w"},
    {"RS512",
     "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"2yCw6NHxl49bxvAE0gGWsIp-D3TvnU4H5eye2-3Llz8HH3F3"
     "_VlGi-PZP_4cpGXLs72ipfLo6WrAOrD89MPd1V-wpa1MiXgvMu05yoiO0eZlj7inyhdsOrCBsMy4aZ6iVGNUJCpH"
     "lRYL9Kj7dRgcBslXMwr5dz82Inx89Ec3sPkSUKz7OdHkmZ9At5aIjgbljKiva5V1DWGtHna4XtIwPeFEabe-5998"
     "hLzSS78cTGDszV_vsp36lxEsBu0S3aZzQNC4eXNJFZEPutbgIJyZ49u3iEK1WK8LNj3d8oaZMkv4fqs2qSnCP78m"
     "c7Bx9ST7nbPx0ceBzxDM4VW3U1eSKn9wFK41f9L5_qPRg3BORPBo567J8kQcMRmXcdHjVFxqzsMiTwWQyESBXd9b"
     "YFy022lBSkJoJZhGtTIHtAuEgr3i6zfhKp2xNuRBXjGvzGsGlfnKA1WFFPz0qTBVGZn1ikhKRFeKOx33cwXUSXGH"
     "7Z28NEsLmP8N6vnIlqPNM9sz\", \"e\": \"AQAB\", \"kid\": \"RS512-key\", \"alg\": \"RS512\","
     " \"use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCIsImtpZCI6IlJTNTEyLWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.nPY8LlzaL-p4Q3u_0rVSKAOJ8F225W7bDMoR7iRv1gsyxhwggvV54xbHtdcd4NIqtQh"
     "IgPgoUWaCX1tl87ZUgtUywhR6mQgoTexK1Fjz38-4tk_QXDYeS1ufoV9dNDIuzu9WMW6e6FjX-_EghacYclNO5Qa"
     "P0XGsSY5I5jC0SuSJDwwpTtmKfFEcIReNxaisqvKTYkc2MLbYE4XlmDfMVDDU96wopaEvapBUmhiFvviStpt1doZ"
     "dS3CRcEPgVxKcaIjGhnoGYzMVafXKzUc7XhmP_61KstQ28da1kfApv8eF4Fkm3vJt2AoCkUdZcLmT33atzrxdVgz"
     "N1Y4QW0ACw6n7_6IuUlwwz1ZBtQP0QLKYVpaJHvnuWxFrO5bMJISvlPHLI2iEuuxs15uX2z_HHNyVzCtsBaRmYrk"
     "Cj3GQAEZCAb4I_zFkLPDgtiC3qJa98Jmcw321k-HSrQmINKo_kZl2NavcgC9KPVqcOQ8a8Yim1WfUpIN0GCK3J4g"
     "yBToX"},
    {"PS256",
     "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"yBRiyTzHPRp1yI7k-AJVjzesjaNymnH33OfAyBVh7HDUqcch"
     "eOiUA9YlF1TfBM5ETpL4lUGEV_ox8zmM_k4YS92sb6jgwKZ-I1ZislN-CfH9Eoe6wRSqhIGDUg--nz1_Txu-vMHd"
     "RnkN5-VRa8bNdVR6hxjKfRNxRiF_yjkgNTivRmsovbrB9NBoqBg6uB0aX2WzURaOfiyZfCvdQVXCDy0UtNNUZa85"
     "UXUEfvH4rEFDulr-Sa6mrXHTnxGH4tuHLd32KhZgzurzMJxZJtmAWfB4gsK7SASexdky-MOBiEanY5crp-Np-bIH"
     "H_CMl3uMkKwwQ1Vlr4dt3M8NCaDGaw\", \"e\": \"AQAB\", \"kid\": \"PS256-key\", \"alg\": \"PS"
     "256\", \"use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IlBTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.n9qqWOhEBwOiyvB8zx2YwVOUCnocZGkBt2XW_97xInJYsNYAKUMXSvt53Ub27-y_6_a"
     "tJBWLXD022HYcyZk4j5R5aZi-I4cseDeSVaCDRfEHeY8J1uh4VUGxsF4ANNR93F8iIjBwDhGhiRLYq3M5CMiT5WG"
     "U8x3tq6o8IOAAmpCkaTf3oyWcThjEOvuHVuvMFWt9VpbUftHr8uQQz7lTNngHOcBSZrku1C-5n1w14FJxX9IKFc0"
     "uFoZVu72MIkhkxNIjIq5vI7HQOv1W7rHglR8ThoyIYfXrkVC5ozjedArUqBivIc7OT6-bTiDotflKEGU3KFCo2_b"
     "lIn_G9AP87w"},
    {"PS384",
     "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"pbURQusCltV_J7dkbDjFK-ypKiFq7vQDjKPS3kdEQZmsCPoo"
     "-h7Os-ecsCkcfDvxzMB1jZQI8QXIiDgRbjF7c1vOXnLsr-KXJRB0Gk0YIcBW16hE3HHSemIAPeaWutymrVk7KBYn"
     "gQBtF8m1CKqHNuwg0UUViOJBR9xC6me93SiKNrkOj4weN6sbFJn6QNUc-ftNBIJRqXOcsFhPIjwlJ49xJLpoaM9c"
     "aR4qORkSRJrFOk3LpuJtdAeXK-MQW8S90QcxRpJ8Y4ofiDQ3MR2sQchFSUlouLtWcThI4ReyxILWlO52RVHUAi5E"
     "lpfBJPCqWST89f4oMlXGwsTmVL6l-Q\", \"e\": \"AQAB\", \"kid\": \"PS384-key\", \"alg\": \"PS"
     "384\", \"use\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJQUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6IlBTMzg0LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.cHzkJutgxJ8wzB10UAwgAo2zVhjJZOMkNMenTFMc4g_qiXR3r7WKjxit0wziUbDHJOD"
     "RSzc9-3ZRSzovwQ00vHjFxukwDD8Zsi-SE3nJkudX-yD4BmGbmCmm3-g8ioVSAhJlK5MygErjvqeBjLq4OSgkUMG"
     "2QSGB-7wespVPWlW2VDxMdxsgqvFqZ4ZHTfw3i30500yjXX5ySQxRBt8Kct9dJX1xvhNy_SF8_VDFxyPhFHiYzBR"
     "wT5lwJTpsIvQAMFSznJOwhN0w94WZgPESTim0A5ygVFEHZts5OCGfsuSiFib-YfkjaCW-5Z0UCc7E24CF0tFSYV1"
     "IXI6LwSap4A"},
    {"PS512",
     "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"2Nef1TpxzVASe840R2fRMgYqXZOSo2XUDj_O3CqNgox5K9Yd"
     "DQeRWTwzYdVfc8n-EDkCDrZx1whOzLWM57sVEAV0OYE9Pa88Q9uQbuzf_3QVek3Jk-F44vWM1IFwoMmQJSFV-IXV"
     "y2q2RlKhvqmMVwffc80DJO_AC2DQbVof7ivyKYiUb2auY6FBocaZDVmfJMJfj_28U9Wzcs6hdeSvEpg41TsU14Zg"
     "aXYzazMm4AyNSMZfE7GG7Q14brzfQJM4AsoyJboAbgF3yyXwO917IlvAx0IPGbgHNF1iIUOrhTd8wI1USjKI9l-p"
     "y63odQ7tdC4f5wS3lEe9GE1PrG3UZ3QMgyKT1UCJhimF79XbH2-wva1YFzNJHnRmCgu_CgM3VUGBu2sVf64NsMRn"
     "wH4WWhic4AsgzERX4LzFuMX9j3E1RbhxIJcwfvyWPQTXLTxVIX6huiKr-YK1_5mzLyIMHppXYmFDMclWSTQL5diM"
     "fTtY_AF_I5_okteD7xzhA7nnoDld1t_Jdkslnkd8JxtJGOAkWXqsN-dN0lFmL6sBtdZZ4sU8D9g4GiHH8RhLxg_R"
     "I4m7HkLk0Emi70ZLJIqGVaOrpLzci4gHQSF59_ApRSA5Lu-S9NhiMMh2gar2HsricW1N7pUxzQgTm4nPQknh1PLY"
     "_TKgY9_fxjxc5G3dQAE\", \"e\": \"AQAB\", \"kid\": \"PS512-key\", \"alg\": \"PS512\", \"us"
     "e\": \"sig\"}]}",
     NULL,
     "eyJhbGciOiJQUzUxMiIsInR5cCI6IkpXVCIsImtpZCI6IlBTNTEyLWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.05mS6Nv38yfsuMxxLMDRidSYXw6KyZI8xDyqH44XqbTwR6pvIJFwFrfY0Ri_qyEfEOw"
     "2Ulr21aZBYxsj-vXqZOm0GyzvusjeJ79nelxUM5ZyIW_45sB9fehc0hk5e4YUDLhWNIiRwLT8Zxe-cqcrwDJgrx4"
     "RnWsz3I4dWVMfvlsiMcEmKKzx135Fgj4ag6vsncPUuLgeRePAgA87Y8sThQqqWTs8fexwBH6QPNr6RmRQoKQy9wz"
     "6MF7ECVhjCs5jShFOu5_KS2hLqGUHqc33teKatv3JUKP4hId49C1j59TVtvdJ_6gdKc5_CnIrLQ9M1lYDBIg2D3k"
     "sPe_0ZbpAExgO1xTMjNkTaCgNGIKDlG-fGxXc4PZZ76mmM_1-mnVto4Ze-XNHOxFV7nqxvP70Nfdn_CmXWbCetIZ"
     "4YITNxblQlhHn--wURTuhM4ZK56BEKFIhuLKptyimUAjD52V_rpbedTQBAAn3oI5Oss7Vkru9NZ0nisAgc2OIrw6"
     "6lq1oHrDT56aikZ20JmfsYZh1LfVqTha3uhIasO1nbFzF78x7TCO-PU9Vdf1Dot4Xuxi9pB9ynzC3tSZo6OptE7S"
     "iVqV3lD4hKCczOcbzi1Mki1AK0zeWk_mGz5PD1VuGDUO7T6WA-sjjTQ1sfaIvYZzkt8WaUeiiOd9fHS-aAK2qJYI"},
    {"ES256",
     "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"b_wg8Wa2fIhA6mB9Pan1-NU5QmH5r"
     "H-yahLDQmrTORg\", \"y\": \"yOZYpAItJ89GluBvVge80woWCOGThygwtu_3dF1Z9XI\", \"kid\": \"ES2"
     "56-key\", \"alg\": \"ES256\", \"use\": \"sig\"}]}",
     "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEb/wg8Wa2fIhA6mB9Pan1+NU5"
     "QmH5\nrH+yahLDQmrTORjI5likAi0nz0aW4G9WB7zTChYI4ZOHKDC27/d0XVn1cg==\n-----END PUBLIC KEY-"
     "----\n",
     "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkVTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.OLLA18D05wLqXlkUbR4RuNHAICU1E87C2Pxln3pJhZ3BCvWg2RqN-lsBQK67ZDdmNHu"
     "fxpQeFQxGuDRpt91BYg"},
    {"ES384",
     "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-384\", \"x\": \"nNgAqkF5pABc0pfim_lsSMcfSm5AO"
     "ef1CXz5nWl4SLt2wBnmUitK8MCNF49k82RW\", \"y\": \"HOEsRNNo-CX9IiktM-xNC700iTVFuW6QRIPhzSNQ"
     "G4bAXZT-KXXQLFhc1TDkEXGn\", \"kid\": \"ES384-key\", \"alg\": \"ES384\", \"use\": \"sig\""
     "}]}",
     "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnNgAqkF5pABc0pfim/lsSMcfSm5A"
     "Oef1\nCXz5nWl4SLt2wBnmUitK8MCNF49k82RWHOEsRNNo+CX9IiktM+xNC700iTVFuW6Q\nRIPhzSNQG4bAXZT+"
     "KXXQLFhc1TDkEXGn\n-----END PUBLIC KEY-----\n",
     "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6IkVTMzg0LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.nhm9SbVvxCZWt2UMwm-ZZJA3tDgQCX5okCOlwxmOZ62Xazg16yY7OvGF8Y7K96PyQAL"
     "8MMBiYMeG9t9tUIZxek5LWCmek3NHKtK20TBiFb1gXzMpz6HcSHrkQqq8U_pv"},
    {"ES512",
     "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-521\", \"x\": \"AW4033VLBsY-ksHTJXv16x6R6hIgA"
     "W8DLVkRfB6Vi4EzPG9jq87959y_pLS3nVC6-cOul02ClMQDH6udFT5b6YgJ\", \"y\": \"AQSZADQav0spX_m_"
     "-CJ4BXT4MgQmRRC9WObmBphmO1aPxa1bVTTu5qmyCkCAk0Zq-Y2r5NMdv7zYVGGjRbDuIcp7\", \"kid\": \"E"
     "S512-key\", \"alg\": \"ES512\", \"use\": \"sig\"}]}",
     "-----BEGIN PUBLIC KEY-----\nMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBbjTfdUsGxj6SwdMle/XrHpHq"
     "EiAB\nbwMtWRF8HpWLgTM8b2Orzv3n3L+ktLedULr5w66XTYKUxAMfq50VPlvpiAkBBJkA\nNBq/Sylf+b/4IngF"
     "dPgyBCZFEL1Y5uYGmGY7Vo/FrVtVNO7mqbIKQICTRmr5javk\n0x2/vNhUYaNFsO4hyns=\n-----END PUBLIC "
     "KEY-----\n",
     "eyJhbGciOiJFUzUxMiIsInR5cCI6IkpXVCIsImtpZCI6IkVTNTEyLWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.AEpyVPEksthKFUfjv1EIN9UNhn4PCDpk6u6B6B7Hl6_vvKm_q2YjQ_wE4oiFxlBla-y"
     "4c_Gkg_afWK6q8rTREZQaADn1SP10IXPULj_3PxUAgmtN2arEmhSbhLiuPxh8938yfvgRjCRuaqJlTBKw3y043aT"
     "dSpgR2R0X-HNifxjyNI0X"},
    {"EdDSA",
     "{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"4ehxcgAcyCVLiEecp38M-O3kd3"
     "RX-ZE1TIcwOzx4jak\", \"kid\": \"EdDSA-key\", \"alg\": \"EdDSA\", \"use\": \"sig\"}]}",
     "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA4ehxcgAcyCVLiEecp38M+O3kd3RX+ZE1TIcwOzx4jak="
     "\n-----END PUBLIC KEY-----\n",
     "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6IkVkRFNBLWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "ic3ViIjogImFsaWNlIn0.v3SG5nGBrGssqmjmVhXimU30cWUI6IK8pSvg_pwtDEH0xb9JYPONQPznUdDb7QdjOLu"
     "aUVKDspwI1SIFHljICQ"},
};

/* Each signed by the key of vectors[0]. */
static const struct {
    const char *name;
    enum token_err err;
    const char *token;
} cases[] __attribute__((unused)) = {
    {"all is well", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9.zNk1EMfSHFmVIxn7mFOocRo7yXtHhKowZpagFHF2rls"},
    {"no type", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkwMDA"
     "wMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ"
     "9.m6GNjA0sPbceskhleVbBol3fbUj9iCnCCqDsz-ZCZYA"},
    {"an access token", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6ImFwcGxpY2F0aW9uL2F0K0pXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHA"
     "iOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF"
     "1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ9.Xq_phKqrPMSnM5RFhPVR_ZbxIZVaK7s-5OudI5MMaZQ"},
    {"a type of something else", TOKEN_TYPE,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6ImxvZ291dCtqd3QiLCJraWQiOiJIUzI1Ni1rZXkifQ.eyJleHAiOiAyMDAwM"
     "DAwMDAwLCAiaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtc"
     "XR0IiwgInN1YiI6ICJhbGljZSJ9.8Bq8wAKAE62GOhOLEahz8BMOsyVZNdeRd2-7aANhqus"},
    {"a type that is no text", TOKEN_TYPE,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6MSwia2lkIjoiSFMyNTYta2V5In0.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0"
     "IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6"
     "ICJhbGljZSJ9.mZwWT3aH3v0tUt4UnJ2hc2GLeHJ0qR7ISvaXJJUdsQE"},
    {"an extension", TOKEN_CRITICAL,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSIsImNyaXQiOlsiYjY0Il0sImI2NCI6"
     "ZmFsc2V9.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3V"
     "lci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ9.ghxHrG_m4brQwQVfMrjRk1FsG-gq3Cvb-j"
     "-Vy2d9kJU"},
    {"no name of a key", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkwMDAwMDAwMCw"
     "gImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ9.1XFyrb"
     "QFnTfpM7harZ0s1lPG9sgJTbMlP2MYLRXPBI8"},
    {"another name of a key", TOKEN_UNKNOWN_KEY,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LW90aGVyIn0.eyJleHAiOiAyMDAwMDAwMDAw"
     "LCAiaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0Iiwg"
     "InN1YiI6ICJhbGljZSJ9.BTS34EMUTMD944Gx1BqU0Zwf-yYzQfRdgE4gJKvLhCQ"},
    {"a name that is no text", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6N30.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkw"
     "MDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGlj"
     "ZSJ9.Fm7k83pp7Uo8ZKc7QyiizRYv2KOqJKMpwW3UMgf4CrE"},
    {"no algorithm", TOKEN_MALFORMED,
     "eyJ0eXAiOiJKV1QiLCJraWQiOiJIUzI1Ni1rZXkifQ.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkwMDAwM"
     "DAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ9."
     "Gh60vzxhlOsFuq_btsQYsO5WsI0_t-CWjvPNJj7nOJY"},
    {"none", TOKEN_ALGORITHM,
     "eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiSFMyNTYta2V5In0.eyJleHAiOiAyMDAwMDAwMDAwLCAi"
     "aWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1"
     "YiI6ICJhbGljZSJ9.1CnptV5DkyU5RhG3squ6tQ7cHySRsZG1vu_iePxhulg"},
    {"None", TOKEN_ALGORITHM,
     "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIiwia2lkIjoiSFMyNTYta2V5In0.eyJleHAiOiAyMDAwMDAwMDAwLCAi"
     "aWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1"
     "YiI6ICJhbGljZSJ9.aZMFYZFtmMV1mBmxxw9nzH70Uyv0dYTWpZfRXlTCF-Y"},
    {"another algorithm than the key's", TOKEN_ALGORITHM,
     "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9.UHJLgr6vonGAF6t52z6CLIdFgaYXNFw0XddYNVv0XeM"},
    {"a key that the token brings", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSIsImp3ayI6eyJrdHkiOiJvY3QiLCJr"
     "IjoiQUFBQSJ9LCJqa3UiOiJodHRwOi8veCJ9.eyJleHAiOiAyMDAwMDAwMDAwLCAiaWF0IjogMTkwMDAwMDAwMCw"
     "gImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ9.01Bh_A"
     "_FMJcsRUiMz8-YaRqiK2g2nwlTlVvfvdy0p5M"},
    {"ends now, but for the leeway", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAxOTAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9.tV4Q1TD_IEFgEOIbLxjqt1aAj_BZnn1nGi0ZOqIIsww"},
    {"ends with the leeway", TOKEN_EXPIRED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAxODk5OTk5OTcwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9.SgyRtxUx3EPDdRS2NsCzsXeXS6HmmDssI0j7XA5VVzw"},
    {"ends a second later", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAxODk5OTk5OTcxLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9.x4LbQH1yQzaKJ3d7ybb9-BP8t3sBNZg6hvxXSnY_hbw"},
    {"ends in the midst of a second", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAxODk5OTk5OTcxLjU"
     "sICJpYXQiOiAxOTAwMDAwMDAwLCAiaXNzIjogImh0dHBzOi8vaXNzdWVyLnRlc3QiLCAiYXVkIjogIm1xdHQiLCA"
     "ic3ViIjogImFsaWNlIn0.L3QVgopOwhPUVHBj-djIon_9WeZwu088vtYx0uC1mRc"},
    {"no end", TOKEN_NO_EXPIRY,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJpYXQiOiAxOTAwMDAwMDAwLCA"
     "iaXNzIjogImh0dHBzOi8vaXNzdWVyLnRlc3QiLCAiYXVkIjogIm1xdHQiLCAic3ViIjogImFsaWNlIn0.Z06MvNR"
     "kO8mUCQsg2y6_iNiDVjMuwCYI3mz_UgjaOt4"},
    {"an end that is no number", TOKEN_CLAIM,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAiMjAwMDAwMDAwMCI"
     "sICJpYXQiOiAxOTAwMDAwMDAwLCAiaXNzIjogImh0dHBzOi8vaXNzdWVyLnRlc3QiLCAiYXVkIjogIm1xdHQiLCA"
     "ic3ViIjogImFsaWNlIn0.CLXV5CCvcz9VACLTcrzBXvOb1904VTO1pDKvFYsqntM"},
    {"an end before 1970", TOKEN_CLAIM,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAtMSwgImlhdCI6IDE"
     "5MDAwMDAwMDAsICJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiAibXF0dCIsICJzdWIiOiAiYWx"
     "pY2UifQ.hqKGzSCEADEoPzojPZ_uFPXyO83srmyX_AUmyETdQPI"},
    {"an end beyond all times", TOKEN_CLAIM,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAxMTUyOTIxNTA0NjA"
     "2ODQ2OTc2LCAiaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJ"
     "tcXR0IiwgInN1YiI6ICJhbGljZSJ9.sopkSj4pf6JZhVAxcMz9LnTxPIE4x65mem1iIyCRzWg"},
    {"begins with the leeway", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJuYmYiOiAxOTAwMDAwMDMwfQ.MG6rVwZK7b7yL0w2n925cs-iqxHp7VVzr9bPtFLh6WM"},
    {"begins later", TOKEN_EARLY,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJuYmYiOiAxOTAwMDAwMDMxfQ.MbZyJnClDbwwp3YKUDmUfOMKja22mcZv7-w8ZgLmLco"},
    {"a beginning that is no number", TOKEN_CLAIM,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJuYmYiOiB0cnVlfQ.J7-QODubA79IYx0VkySts95qu81Nd0Dzf17UoWVRXQk"},
    {"issued in the future", TOKEN_EARLY,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAzMSwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9.Bc2qZBJVoLaPOqa09wT3LBWFoQTrIXXUhHsDraA3NHE"},
    {"another issuer", TOKEN_ISSUER,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0LyIsICJhdWQiOiAibXF0dCIsICJ"
     "zdWIiOiAiYWxpY2UifQ.OVLbcMVVZrfQeseVG9GBZutI77ReaLXWiibpiulzXVA"},
    {"no issuer", TOKEN_ISSUER,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImF1ZCI6ICJtcXR0IiwgInN1YiI6ICJhbGljZSJ9.U0_XEe1OCbudrXbzt63FzV"
     "4LULHYaUGrM_J39ekTi-E"},
    {"another audience", TOKEN_AUDIENCE,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0cyIsICJ"
     "zdWIiOiAiYWxpY2UifQ.gkt8epijRrxXms_SO-wHhE9blMAXcUuYPiyfkzXzf60"},
    {"no audience", TOKEN_AUDIENCE,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgInN1YiI6ICJhbGljZSJ9.je"
     "nl1913LKqyz8FiZ18RBPp86ff247N4JsOXraklkLM"},
    {"one of several", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6IFsid2ViIiwgIm1"
     "xdHQiXSwgInN1YiI6ICJhbGljZSJ9.czPTpyFhG16A37AyBUt8Ejd1mZmYTVbiER_sVGf1B-g"},
    {"none of several", TOKEN_AUDIENCE,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6IFsid2ViIiwgIm1"
     "xIl0sICJzdWIiOiAiYWxpY2UifQ.qqMceBC3u1EuT4SynGqcN9IfsCyI0uvK6vJd_WkSaNo"},
    {"nobody", TOKEN_AUDIENCE,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6IFtdLCAic3ViIjo"
     "gImFsaWNlIn0.k1qxRTaAs5K_Sm_Dfe3xe4Vx61NwTmiKOMrRvl9ZZR0"},
    {"an audience that is no text", TOKEN_CLAIM,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6IFsibXF0dCIsIDF"
     "dLCAic3ViIjogImFsaWNlIn0.zPc7I6sih__xgod9ISmgeaSYzKXgk1Lgve5bEVTkbvU"},
    {"an audience that is an object", TOKEN_CLAIM,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6IHsibXF0dCI6ICJ"
     "tcXR0In0sICJzdWIiOiAiYWxpY2UifQ.YQpINbhFYHPor7ka7XJ67FZpdSIyOSNknIQLyeIpHRs"},
    {"no user", TOKEN_USER,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0In0.q6X"
     "1hir82wIkAzbXO56R9EnPbjf-gtztzXzQbfTVuNA"},
    {"a user without a name", TOKEN_USER,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICIifQ.FUUzaDr4WnLet1e9NeG9qzz5fZvgr4nqBsxSavAKk-g"},
    {"a user that is no text", TOKEN_USER,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6IDF9.pT2P7NjJiyz2raebHZM5MviOV4YrUh2uE7iO-ivlHAE"},
    {"a user of 256 bytes", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
     "hYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
     "hYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
     "hYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhIn0"
     ".f5tumg_Fyr2pKCf3WfyCiqDlYcbd-kC_4Z1-SCdERSI"},
    {"a user of more", TOKEN_USER,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
     "hYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
     "hYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
     "hYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYSJ"
     "9.WhEOe06oIsKXH2s5FcQzDXT2cBq1UhLHc6jQnO9_OTU"},
    {"a user with a NUL", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhXHUwMDAwYiJ9.k1DLM2luuhiV8LJFvMZb3xcnp7jhIaDeReKVLloVaSQ"},
    {"its client identifier", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJjbGllbnRfaWQiOiAiY2xpZW50In0.52LjpN64SizUcH-WEGjDDbZfcbns3B3A_b838sQ"
     "QS_I"},
    {"another client identifier", TOKEN_CLIENT,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJjbGllbnRfaWQiOiAiY2xpZW5UIn0.F3GDYE9Hlw_6cIGOOz1xRuFLwymxTCgvplCqAuL"
     "tiik"},
    {"a client identifier that is no text", TOKEN_CLIENT,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJjbGllbnRfaWQiOiBbImNsaWVudCJdfQ.Q06cE4dNA_UKGeC_Y321wRGcJrBTFCkMukGB"
     "yt8ZuS8"},
    {"rules", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJhY2wiOiBbeyJwZXJtaXNzaW9uIjogImFsbG93IiwgInRvcGljIjogImEvIyJ9XX0.0-3"
     "uAyoEWO7Dm3-BUTWxp7Ap5W5sKxPMNS-T3FfItGU"},
    {"rules that are none", TOKEN_ACL,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJhY2wiOiBbeyJwZXJtaXNzaW9uIjogInBlcmhhcHMiLCAidG9waWMiOiAiYS8jIn1dfQ."
     "WkHjFnhYJo7D396KsAMrossxinwxneIjt8K8bUrR6BU"},
    {"rules that are no list", TOKEN_ACL,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJhY2wiOiAiYS8jIn0.rgKvtZSVPgASc5iay6KHelNYekBDZ_1_jJaydZRDN1k"},
    {"rules that are a number", TOKEN_ACL,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJhY2wiOiA3fQ.Z9-kOk3o84s6ZYI3c_1VH5nmqgRGGI6WYTMewzCfLzc"},
    {"groups", TOKEN_OK,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJncm91cHMiOiBbIm9wcyIsICJhIGIiXX0.z6SQsI7QF2_9s91H52WPrHvZ4RGI6fB8IEY"
     "rgxfrBko"},
    {"groups that are no text", TOKEN_GROUPS,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJncm91cHMiOiBbIm9wcyIsIDFdfQ.65Ur5PKjQXhOc26QxiajafCl_ZzRzk7v18EKWI4t"
     "fcE"},
    {"groups, and rules that are none", TOKEN_ACL,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJncm91cHMiOiBbIm9wcyJdLCAiYWNsIjogN30.6cSk4seXcaazJNGJIDT2lRISIyPfXO7"
     "8obtJpRwc2a0"},
    {"claims that are a list", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.WzFd.zYsgYl_j_uNUNbZhLgfR8F"
     "L2JIGXX7oDubJdJscprTY"},
    {"claims that are no JSON", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJzdWIiOiBhbGljZX0.d2y1uxa"
     "Nf05vEDJsi5J8y5KG0TS2dRXzPp3oePWy1ZA"},
    {"claims with something behind them", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSJ9e30.2xAWnk_7qV4HhcGWly08O4RTTEfltjsyedorWz735WI"},
    {"a claim twice", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJzdWIiOiAiYm9iIn0.g8rugOxbafCAwrhhovBa_vqz0EtZPLlg46GP5RJeTr0"},
    {"a claim twice, once escaped", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJleHAiOiAyMDAwMDAwMDAwLCA"
     "iaWF0IjogMTkwMDAwMDAwMCwgImlzcyI6ICJodHRwczovL2lzc3Vlci50ZXN0IiwgImF1ZCI6ICJtcXR0IiwgInN"
     "1YiI6ICJhbGljZSIsICJzXHUwMDc1YiI6ICJib2IifQ.-27ykVjZcrcab6Y4R-fG7ZyEXZIuUVCJ0u9Bf_-zh3M"},
    {"no UTF-8", TOKEN_MALFORMED,
     "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkhTMjU2LWtleSJ9.eyJzdWIiOiAi_yJ9.xeVYFuXBvj"
     "NewZ0thC4MwrwBUXOcfuLqtAjpu6KWoA8"},
};
