# OpenSSL's functions, as pointers into the library that was found; all are set once the module is imported.
# Call them with the GIL, because callbacks run on the same thread and use Python objects. Arguments of callbacks are borrowed.

from libc.stdint cimport uint32_t, uint64_t

ctypedef int (*verify_fn)(int, void*) noexcept
ctypedef int (*hello_fn)(void*, int*, void*) noexcept
ctypedef int (*cert_fn)(void*, void*) noexcept
ctypedef int (*alpn_fn)(void*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int, void*) noexcept
ctypedef int (*ticket_fn)(void*, unsigned char*, unsigned char*, void*, void*, int) noexcept
ctypedef int (*session_fn)(void*, void*) noexcept
ctypedef int (*password_fn)(char*, int, int, void*) noexcept
ctypedef int (*status_fn)(void*, void*) noexcept
ctypedef int (*bio_read_fn)(void*, char*, size_t, size_t*) noexcept
ctypedef int (*bio_write_fn)(void*, const char*, size_t, size_t*) noexcept
ctypedef long (*bio_ctrl_fn)(void*, int, long, void*) noexcept

cdef struct ossl_param:        # OSSL_PARAM
    const char* key
    unsigned int data_type
    void* data
    size_t data_size
    size_t return_size

cdef enum:
    PARAM_INTEGER = 1
    PARAM_UTF8 = 4
    PARAM_OCTETS = 5

cdef enum:
    TLS_1_0 = 0x0301
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304
    SSL_ERROR_SSL = 1
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_WANT_WRITE = 3
    SSL_ERROR_SYSCALL = 5
    SSL_ERROR_ZERO_RETURN = 6
    CTRL_MODE = 33
    CTRL_SESSION_CACHE = 44
    CTRL_HOST_NAME = 55
    CTRL_STATUS_CALLBACK = 63
    CTRL_OCSP_RESPONSE = 71
    CTRL_GROUPS = 92
    CTRL_SIGNATURES = 98
    CTRL_MIN_VERSION = 123
    CTRL_MAX_VERSION = 124
    MODE_PARTIAL_WRITE = 0x1
    MODE_MOVING_BUFFER = 0x2
    MODE_NO_AUTO_CHAIN = 0x8
    MODE_RELEASE_BUFFERS = 0x10
    BIO_CTRL_EOF = 2
    BIO_CTRL_INFO = 3
    BIO_CTRL_FLUSH = 11
    BIO_READ = 0x01
    BIO_WRITE = 0x02
    BIO_RETRY = 0x08

cdef uint64_t OP_IGNORE_UNEXPECTED_EOF, OP_NO_TICKET, OP_NO_COMPRESSION, OP_SERVER_PREFERENCE, OP_NO_RENEGOTIATION

ctypedef int (*CRYPTO_get_ex_new_index_fn)(int, long, void*, void*, void*, void*) noexcept
ctypedef void* (*SSL_CTX_new_ex_fn)(void*, const char*, const void*) noexcept
ctypedef void (*SSL_CTX_free_fn)(void*) noexcept
ctypedef const void* (*TLS_server_method_fn)() noexcept
ctypedef long (*SSL_CTX_ctrl_fn)(void*, int, long, void*) noexcept
ctypedef uint64_t (*SSL_CTX_set_options_fn)(void*, uint64_t) noexcept
ctypedef void (*SSL_CTX_set_security_level_fn)(void*, int) noexcept
ctypedef int (*SSL_CTX_get_security_level_fn)(const void*) noexcept
ctypedef int (*SSL_CTX_set_cipher_list_fn)(void*, const char*) noexcept
ctypedef int (*SSL_CTX_set_ciphersuites_fn)(void*, const char*) noexcept
ctypedef int (*SSL_CTX_set_num_tickets_fn)(void*, size_t) noexcept
ctypedef int (*SSL_CTX_set_session_id_context_fn)(void*, const unsigned char*, unsigned int) noexcept
ctypedef void (*SSL_CTX_set_verify_fn)(void*, int, verify_fn) noexcept
ctypedef void* (*SSL_CTX_get_cert_store_fn)(const void*) noexcept
ctypedef int (*SSL_CTX_add_client_CA_fn)(void*, void*) noexcept
ctypedef void (*SSL_CTX_set_client_hello_cb_fn)(void*, hello_fn, void*) noexcept
ctypedef void (*SSL_CTX_set_cert_cb_fn)(void*, cert_fn, void*) noexcept
ctypedef void (*SSL_CTX_set_alpn_select_cb_fn)(void*, alpn_fn, void*) noexcept
ctypedef void (*SSL_get0_alpn_selected_fn)(const void*, const unsigned char**, unsigned int*) noexcept
ctypedef int (*SSL_CTX_set_tlsext_ticket_key_evp_cb_fn)(void*, ticket_fn) noexcept
ctypedef void* (*SSL_new_fn)(void*) noexcept
ctypedef void (*SSL_free_fn)(void*) noexcept
ctypedef long (*SSL_ctrl_fn)(void*, int, long, void*) noexcept
ctypedef int (*SSL_set_ex_data_fn)(void*, int, void*) noexcept
ctypedef void* (*SSL_get_ex_data_fn)(const void*, int) noexcept
ctypedef void (*SSL_set_accept_state_fn)(void*) noexcept
ctypedef void (*SSL_set_bio_fn)(void*, void*, void*) noexcept
ctypedef void* (*SSL_set_SSL_CTX_fn)(void*, void*) noexcept
ctypedef uint64_t (*SSL_set_options_fn)(void*, uint64_t) noexcept
ctypedef uint64_t (*SSL_clear_options_fn)(void*, uint64_t) noexcept
ctypedef void (*SSL_set_verify_fn)(void*, int, verify_fn) noexcept
ctypedef int (*SSL_set_num_tickets_fn)(void*, size_t) noexcept
ctypedef int (*SSL_set_ciphersuites_fn)(void*, const char*) noexcept
ctypedef int (*SSL_use_cert_and_key_fn)(void*, void*, void*, void*, int) noexcept
ctypedef int (*SSL_client_hello_get0_ext_fn)(void*, unsigned int, const unsigned char**, size_t*) noexcept
ctypedef int (*SSL_do_handshake_fn)(void*) noexcept
ctypedef int (*SSL_read_ex_fn)(void*, void*, size_t, size_t*) noexcept
ctypedef int (*SSL_peek_ex_fn)(void*, void*, size_t, size_t*) noexcept
ctypedef int (*SSL_write_ex_fn)(void*, const void*, size_t, size_t*) noexcept
ctypedef int (*SSL_get_error_fn)(const void*, int) noexcept
ctypedef int (*SSL_pending_fn)(const void*) noexcept
ctypedef int (*SSL_shutdown_fn)(void*) noexcept
ctypedef int (*SSL_session_reused_fn)(const void*) noexcept
ctypedef const char* (*SSL_get_version_fn)(const void*) noexcept
ctypedef int (*SSL_version_fn)(const void*) noexcept
ctypedef const void* (*SSL_get_current_cipher_fn)(const void*) noexcept
ctypedef const char* (*SSL_CIPHER_standard_name_fn)(const void*) noexcept
ctypedef const char* (*OPENSSL_cipher_name_fn)(const char*) noexcept
ctypedef void* (*BIO_meth_new_fn)(int, const char*) noexcept
ctypedef int (*BIO_get_new_index_fn)() noexcept
ctypedef int (*BIO_meth_set_read_ex_fn)(void*, bio_read_fn) noexcept
ctypedef int (*BIO_meth_set_write_ex_fn)(void*, bio_write_fn) noexcept
ctypedef int (*BIO_meth_set_ctrl_fn)(void*, bio_ctrl_fn) noexcept
ctypedef void* (*BIO_new_fn)(const void*) noexcept
ctypedef int (*BIO_free_fn)(void*) noexcept
ctypedef void* (*BIO_new_mem_buf_fn)(const void*, int) noexcept
ctypedef const void* (*BIO_s_mem_fn)() noexcept
ctypedef long (*BIO_ctrl_fn)(void*, int, long, void*) noexcept
ctypedef void (*BIO_set_data_fn)(void*, void*) noexcept
ctypedef void* (*BIO_get_data_fn)(void*) noexcept
ctypedef void (*BIO_set_init_fn)(void*, int) noexcept
ctypedef void (*BIO_set_flags_fn)(void*, int) noexcept
ctypedef void (*BIO_clear_flags_fn)(void*, int) noexcept
ctypedef void (*ERR_clear_error_fn)() noexcept
ctypedef unsigned long (*ERR_get_error_fn)() noexcept
ctypedef unsigned long (*ERR_peek_last_error_fn)() noexcept
ctypedef const char* (*ERR_reason_error_string_fn)(unsigned long) noexcept
ctypedef void* (*PEM_read_bio_X509_fn)(void*, void*, void*, void*) noexcept
ctypedef void* (*PEM_read_bio_PrivateKey_fn)(void*, void*, password_fn, void*) noexcept
ctypedef int (*PEM_write_bio_X509_fn)(void*, const void*) noexcept
ctypedef int (*PEM_write_bio_PKCS8PrivateKey_fn)(void*, const void*, const void*, const char*, int, void*, void*) noexcept
ctypedef void (*X509_free_fn)(void*) noexcept
ctypedef void* (*X509_new_fn)() noexcept
ctypedef int (*X509_set_version_fn)(void*, long) noexcept
ctypedef void* (*X509_get_serialNumber_fn)(void*) noexcept
ctypedef int (*ASN1_INTEGER_set_uint64_fn)(void*, uint64_t) noexcept
ctypedef void* (*X509_getm_notBefore_fn)(const void*) noexcept
ctypedef void* (*X509_getm_notAfter_fn)(const void*) noexcept
ctypedef void* (*X509_gmtime_adj_fn)(void*, long) noexcept
ctypedef int (*X509_set_pubkey_fn)(void*, void*) noexcept
ctypedef int (*X509_set_issuer_name_fn)(void*, const void*) noexcept
ctypedef void* (*X509_get_subject_name_fn)(const void*) noexcept
ctypedef int (*X509_NAME_add_entry_by_txt_fn)(void*, const char*, int, const unsigned char*, int, int, int) noexcept
ctypedef int (*X509_NAME_get_text_by_NID_fn)(void*, int, char*, int) noexcept
ctypedef int (*X509_sign_fn)(void*, void*, const void*) noexcept
ctypedef int (*X509_add_ext_fn)(void*, void*, int) noexcept
ctypedef void* (*X509V3_EXT_conf_nid_fn)(void*, void*, int, const char*) noexcept
ctypedef void (*X509_EXTENSION_free_fn)(void*) noexcept
ctypedef int (*X509_check_private_key_fn)(const void*, const void*) noexcept
ctypedef void* (*X509_get_ext_d2i_fn)(const void*, int, int*, int*) noexcept
ctypedef const void* (*X509_get0_notAfter_fn)(const void*) noexcept
ctypedef int (*ASN1_TIME_diff_fn)(int*, int*, const void*, const void*) noexcept
ctypedef int (*X509_STORE_add_cert_fn)(void*, void*) noexcept
ctypedef int (*X509_STORE_set_flags_fn)(void*, unsigned long) noexcept
ctypedef void (*GENERAL_NAMES_free_fn)(void*) noexcept
ctypedef void* (*GENERAL_NAME_get0_value_fn)(const void*, int*) noexcept
ctypedef const unsigned char* (*ASN1_STRING_get0_data_fn)(const void*) noexcept
ctypedef int (*ASN1_STRING_length_fn)(const void*) noexcept
ctypedef void* (*OPENSSL_sk_new_null_fn)() noexcept
ctypedef int (*OPENSSL_sk_push_fn)(void*, const void*) noexcept
ctypedef int (*OPENSSL_sk_num_fn)(const void*) noexcept
ctypedef void* (*OPENSSL_sk_value_fn)(const void*, int) noexcept
ctypedef void (*OPENSSL_sk_free_fn)(void*) noexcept
ctypedef void (*EVP_PKEY_free_fn)(void*) noexcept
ctypedef int (*EVP_PKEY_is_a_fn)(const void*, const char*) noexcept
ctypedef void* (*EVP_CIPHER_fetch_fn)(void*, const char*, const char*) noexcept
ctypedef int (*EVP_EncryptInit_ex_fn)(void*, const void*, void*, const unsigned char*, const unsigned char*) noexcept
ctypedef int (*EVP_DecryptInit_ex_fn)(void*, const void*, void*, const unsigned char*, const unsigned char*) noexcept
ctypedef int (*EVP_MAC_CTX_set_params_fn)(void*, const ossl_param*) noexcept
ctypedef const void* (*EVP_sha256_fn)() noexcept
ctypedef int (*RAND_bytes_fn)(unsigned char*, int) noexcept
ctypedef void* (*EVP_PKEY_CTX_new_from_name_fn)(void*, const char*, const char*) noexcept
ctypedef void (*EVP_PKEY_CTX_free_fn)(void*) noexcept
ctypedef int (*EVP_PKEY_keygen_init_fn)(void*) noexcept
ctypedef int (*EVP_PKEY_CTX_set_params_fn)(void*, const ossl_param*) noexcept
ctypedef int (*EVP_PKEY_generate_fn)(void*, void**) noexcept
ctypedef const void* (*TLS_client_method_fn)() noexcept
ctypedef void (*SSL_CTX_set1_cert_store_fn)(void*, void*) noexcept
ctypedef int (*SSL_CTX_use_cert_and_key_fn)(void*, void*, void*, void*, int) noexcept
ctypedef void (*SSL_CTX_sess_set_new_cb_fn)(void*, session_fn) noexcept
ctypedef void (*SSL_set_connect_state_fn)(void*) noexcept
ctypedef int (*SSL_set1_host_fn)(void*, const char*) noexcept
ctypedef void (*SSL_set_hostflags_fn)(void*, unsigned int) noexcept
ctypedef void* (*SSL_get0_param_fn)(void*) noexcept
ctypedef int (*SSL_set_alpn_protos_fn)(void*, const unsigned char*, unsigned int) noexcept
ctypedef int (*SSL_set_session_fn)(void*, void*) noexcept
ctypedef void (*SSL_SESSION_free_fn)(void*) noexcept
ctypedef long (*SSL_get_verify_result_fn)(const void*) noexcept
ctypedef void* (*SSL_get1_peer_certificate_fn)(const void*) noexcept
ctypedef void* (*SSL_get_peer_cert_chain_fn)(const void*) noexcept
ctypedef const char* (*X509_verify_cert_error_string_fn)(long) noexcept
ctypedef int (*X509_VERIFY_PARAM_set1_ip_asc_fn)(void*, const char*) noexcept
ctypedef void* (*X509_STORE_new_fn)() noexcept
ctypedef void (*X509_STORE_free_fn)(void*) noexcept
ctypedef int (*X509_STORE_load_file_fn)(void*, const char*) noexcept
ctypedef int (*X509_STORE_load_path_fn)(void*, const char*) noexcept
ctypedef void* (*X509_STORE_CTX_new_fn)() noexcept
ctypedef void (*X509_STORE_CTX_free_fn)(void*) noexcept
ctypedef int (*X509_STORE_CTX_init_fn)(void*, void*, void*, void*) noexcept
ctypedef int (*X509_STORE_CTX_set_default_fn)(void*, const char*) noexcept
ctypedef void* (*X509_STORE_CTX_get0_param_fn)(void*) noexcept
ctypedef void (*X509_VERIFY_PARAM_set_auth_level_fn)(void*, int) noexcept
ctypedef int (*X509_verify_cert_fn)(void*) noexcept
ctypedef int (*BIO_read_ex_fn)(void*, void*, size_t, size_t*) noexcept
ctypedef int (*BIO_write_ex_fn)(void*, const void*, size_t, size_t*) noexcept
ctypedef size_t (*BIO_ctrl_pending_fn)(void*) noexcept
ctypedef int (*X509_NAME_print_ex_fn)(void*, const void*, int, unsigned long) noexcept
ctypedef long (*SSL_CTX_callback_ctrl_fn)(void*, int, status_fn) noexcept
ctypedef void* (*SSL_get_certificate_fn)(const void*) noexcept
ctypedef void* (*SSL_get0_verified_chain_fn)(const void*) noexcept
ctypedef uint32_t (*X509_get_extension_flags_fn)(void*) noexcept
ctypedef uint32_t (*X509_get_key_usage_fn)(void*) noexcept
ctypedef void* (*CRYPTO_malloc_fn)(size_t, const char*, int) noexcept

cdef SSL_CTX_new_ex_fn SSL_CTX_new_ex
cdef SSL_CTX_free_fn SSL_CTX_free
cdef TLS_server_method_fn TLS_server_method
cdef SSL_CTX_ctrl_fn SSL_CTX_ctrl
cdef SSL_CTX_set_options_fn SSL_CTX_set_options
cdef SSL_CTX_set_security_level_fn SSL_CTX_set_security_level
cdef SSL_CTX_get_security_level_fn SSL_CTX_get_security_level
cdef SSL_CTX_set_cipher_list_fn SSL_CTX_set_cipher_list
cdef SSL_CTX_set_ciphersuites_fn SSL_CTX_set_ciphersuites
cdef SSL_CTX_set_num_tickets_fn SSL_CTX_set_num_tickets
cdef SSL_CTX_set_session_id_context_fn SSL_CTX_set_session_id_context
cdef SSL_CTX_set_verify_fn SSL_CTX_set_verify
cdef SSL_CTX_get_cert_store_fn SSL_CTX_get_cert_store
cdef SSL_CTX_add_client_CA_fn SSL_CTX_add_client_CA
cdef SSL_CTX_set_client_hello_cb_fn SSL_CTX_set_client_hello_cb
cdef SSL_CTX_set_cert_cb_fn SSL_CTX_set_cert_cb
cdef SSL_CTX_set_alpn_select_cb_fn SSL_CTX_set_alpn_select_cb
cdef SSL_get0_alpn_selected_fn SSL_get0_alpn_selected
cdef SSL_CTX_set_tlsext_ticket_key_evp_cb_fn SSL_CTX_set_tlsext_ticket_key_evp_cb
cdef SSL_new_fn SSL_new
cdef SSL_free_fn SSL_free
cdef SSL_ctrl_fn SSL_ctrl
cdef SSL_set_ex_data_fn SSL_set_ex_data
cdef SSL_get_ex_data_fn SSL_get_ex_data
cdef SSL_set_accept_state_fn SSL_set_accept_state
cdef SSL_set_bio_fn SSL_set_bio
cdef SSL_set_SSL_CTX_fn SSL_set_SSL_CTX
cdef SSL_set_options_fn SSL_set_options
cdef SSL_clear_options_fn SSL_clear_options
cdef SSL_set_verify_fn SSL_set_verify
cdef SSL_set_num_tickets_fn SSL_set_num_tickets
cdef SSL_set_ciphersuites_fn SSL_set_ciphersuites
cdef SSL_use_cert_and_key_fn SSL_use_cert_and_key
cdef SSL_client_hello_get0_ext_fn SSL_client_hello_get0_ext
cdef SSL_do_handshake_fn SSL_do_handshake
cdef CRYPTO_get_ex_new_index_fn CRYPTO_get_ex_new_index
cdef SSL_read_ex_fn SSL_read_ex
cdef SSL_peek_ex_fn SSL_peek_ex
cdef SSL_write_ex_fn SSL_write_ex
cdef SSL_get_error_fn SSL_get_error
cdef SSL_pending_fn SSL_pending
cdef SSL_shutdown_fn SSL_shutdown
cdef SSL_session_reused_fn SSL_session_reused
cdef SSL_get_version_fn SSL_get_version
cdef SSL_version_fn SSL_version
cdef SSL_get_current_cipher_fn SSL_get_current_cipher
cdef SSL_CIPHER_standard_name_fn SSL_CIPHER_standard_name
cdef OPENSSL_cipher_name_fn OPENSSL_cipher_name
cdef BIO_meth_new_fn BIO_meth_new
cdef BIO_get_new_index_fn BIO_get_new_index
cdef BIO_meth_set_read_ex_fn BIO_meth_set_read_ex
cdef BIO_meth_set_write_ex_fn BIO_meth_set_write_ex
cdef BIO_meth_set_ctrl_fn BIO_meth_set_ctrl
cdef BIO_new_fn BIO_new
cdef BIO_free_fn BIO_free
cdef BIO_new_mem_buf_fn BIO_new_mem_buf
cdef BIO_s_mem_fn BIO_s_mem
cdef BIO_ctrl_fn BIO_ctrl
cdef BIO_set_data_fn BIO_set_data
cdef BIO_get_data_fn BIO_get_data
cdef BIO_set_init_fn BIO_set_init
cdef BIO_set_flags_fn BIO_set_flags
cdef BIO_clear_flags_fn BIO_clear_flags
cdef ERR_clear_error_fn ERR_clear_error
cdef ERR_get_error_fn ERR_get_error
cdef ERR_peek_last_error_fn ERR_peek_last_error
cdef ERR_reason_error_string_fn ERR_reason_error_string
cdef PEM_read_bio_X509_fn PEM_read_bio_X509
cdef PEM_read_bio_PrivateKey_fn PEM_read_bio_PrivateKey
cdef PEM_write_bio_X509_fn PEM_write_bio_X509
cdef PEM_write_bio_PKCS8PrivateKey_fn PEM_write_bio_PKCS8PrivateKey
cdef X509_free_fn X509_free
cdef X509_new_fn X509_new
cdef X509_set_version_fn X509_set_version
cdef X509_get_serialNumber_fn X509_get_serialNumber
cdef ASN1_INTEGER_set_uint64_fn ASN1_INTEGER_set_uint64
cdef X509_getm_notBefore_fn X509_getm_notBefore
cdef X509_getm_notAfter_fn X509_getm_notAfter
cdef X509_gmtime_adj_fn X509_gmtime_adj
cdef X509_set_pubkey_fn X509_set_pubkey
cdef X509_set_issuer_name_fn X509_set_issuer_name
cdef X509_get_subject_name_fn X509_get_subject_name
cdef X509_NAME_add_entry_by_txt_fn X509_NAME_add_entry_by_txt
cdef X509_NAME_get_text_by_NID_fn X509_NAME_get_text_by_NID
cdef X509_sign_fn X509_sign
cdef X509_add_ext_fn X509_add_ext
cdef X509V3_EXT_conf_nid_fn X509V3_EXT_conf_nid
cdef X509_EXTENSION_free_fn X509_EXTENSION_free
cdef X509_check_private_key_fn X509_check_private_key
cdef X509_get_ext_d2i_fn X509_get_ext_d2i
cdef X509_get0_notAfter_fn X509_get0_notAfter
cdef ASN1_TIME_diff_fn ASN1_TIME_diff
cdef X509_STORE_add_cert_fn X509_STORE_add_cert
cdef X509_STORE_set_flags_fn X509_STORE_set_flags
cdef GENERAL_NAMES_free_fn GENERAL_NAMES_free
cdef GENERAL_NAME_get0_value_fn GENERAL_NAME_get0_value
cdef ASN1_STRING_get0_data_fn ASN1_STRING_get0_data
cdef ASN1_STRING_length_fn ASN1_STRING_length
cdef OPENSSL_sk_new_null_fn OPENSSL_sk_new_null
cdef OPENSSL_sk_push_fn OPENSSL_sk_push
cdef OPENSSL_sk_num_fn OPENSSL_sk_num
cdef OPENSSL_sk_value_fn OPENSSL_sk_value
cdef OPENSSL_sk_free_fn OPENSSL_sk_free
cdef EVP_PKEY_free_fn EVP_PKEY_free
cdef EVP_PKEY_is_a_fn EVP_PKEY_is_a
cdef EVP_CIPHER_fetch_fn EVP_CIPHER_fetch
cdef EVP_EncryptInit_ex_fn EVP_EncryptInit_ex
cdef EVP_DecryptInit_ex_fn EVP_DecryptInit_ex
cdef EVP_MAC_CTX_set_params_fn EVP_MAC_CTX_set_params
cdef EVP_sha256_fn EVP_sha256
cdef RAND_bytes_fn RAND_bytes
cdef EVP_PKEY_CTX_new_from_name_fn EVP_PKEY_CTX_new_from_name
cdef EVP_PKEY_CTX_free_fn EVP_PKEY_CTX_free
cdef EVP_PKEY_keygen_init_fn EVP_PKEY_keygen_init
cdef EVP_PKEY_CTX_set_params_fn EVP_PKEY_CTX_set_params
cdef EVP_PKEY_generate_fn EVP_PKEY_generate
cdef TLS_client_method_fn TLS_client_method
cdef SSL_CTX_set1_cert_store_fn SSL_CTX_set1_cert_store
cdef SSL_CTX_use_cert_and_key_fn SSL_CTX_use_cert_and_key
cdef SSL_CTX_sess_set_new_cb_fn SSL_CTX_sess_set_new_cb
cdef SSL_set_connect_state_fn SSL_set_connect_state
cdef SSL_set1_host_fn SSL_set1_host
cdef SSL_set_hostflags_fn SSL_set_hostflags
cdef SSL_get0_param_fn SSL_get0_param
cdef SSL_set_alpn_protos_fn SSL_set_alpn_protos
cdef SSL_set_session_fn SSL_set_session
cdef SSL_SESSION_free_fn SSL_SESSION_free
cdef SSL_get_verify_result_fn SSL_get_verify_result
cdef SSL_get1_peer_certificate_fn SSL_get1_peer_certificate
cdef SSL_get_peer_cert_chain_fn SSL_get_peer_cert_chain
cdef X509_verify_cert_error_string_fn X509_verify_cert_error_string
cdef X509_VERIFY_PARAM_set1_ip_asc_fn X509_VERIFY_PARAM_set1_ip_asc
cdef X509_STORE_new_fn X509_STORE_new
cdef X509_STORE_free_fn X509_STORE_free
cdef X509_STORE_load_file_fn X509_STORE_load_file
cdef X509_STORE_load_path_fn X509_STORE_load_path
cdef X509_STORE_CTX_new_fn X509_STORE_CTX_new
cdef X509_STORE_CTX_free_fn X509_STORE_CTX_free
cdef X509_STORE_CTX_init_fn X509_STORE_CTX_init
cdef X509_STORE_CTX_set_default_fn X509_STORE_CTX_set_default
cdef X509_STORE_CTX_get0_param_fn X509_STORE_CTX_get0_param
cdef X509_VERIFY_PARAM_set_auth_level_fn X509_VERIFY_PARAM_set_auth_level
cdef X509_verify_cert_fn X509_verify_cert
cdef BIO_read_ex_fn BIO_read_ex
cdef BIO_write_ex_fn BIO_write_ex
cdef BIO_ctrl_pending_fn BIO_ctrl_pending
cdef X509_NAME_print_ex_fn X509_NAME_print_ex
cdef SSL_CTX_callback_ctrl_fn SSL_CTX_callback_ctrl
cdef SSL_get_certificate_fn SSL_get_certificate
cdef CRYPTO_malloc_fn CRYPTO_malloc
cdef SSL_get0_verified_chain_fn SSL_get0_verified_chain
cdef X509_get_extension_flags_fn X509_get_extension_flags
cdef X509_get_key_usage_fn X509_get_key_usage

cdef int failure_reason() noexcept
cdef str failure()


cdef inline void clear_errors() noexcept:
    """Empty the queue of errors of this thread. ERR_clear_error takes 450 instructions to do that where there are none."""
    if ERR_peek_last_error() != 0:
        ERR_clear_error()
