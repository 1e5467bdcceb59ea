"""OpenSSL's functions, loaded when this module is imported. Raises ImportError, which names the missing function.

OpenSSL keeps errors in one queue per thread, for all connections. After a failed call, the caller empties the queue with `failure`
or ERR_clear_error before the next call.
"""

from libc.stdint cimport uint64_t, uintptr_t

from lbcore.http.heap cimport heap_give, heap_resize, heap_take
from lbcore.http.sanitizer cimport POOLS

from lbcore.tls.library import find

OP_IGNORE_UNEXPECTED_EOF = <uint64_t>1 << 7
OP_NO_TICKET = <uint64_t>1 << 14
OP_NO_COMPRESSION = <uint64_t>1 << 17
OP_SERVER_PREFERENCE = <uint64_t>1 << 22
OP_NO_RENEGOTIATION = <uint64_t>1 << 30

library = find()       # keeps the library open


cdef void* at(str name) except NULL:
    return <void*><uintptr_t>library.address(name)


ctypedef int (*set_mem_functions_fn)(void* (*)(size_t, const char*, int) noexcept nogil,
                                     void* (*)(void*, size_t, const char*, int) noexcept nogil,
                                     void (*)(void*, const char*, int) noexcept nogil) noexcept


cdef void* take(size_t size, const char* file, int line) noexcept nogil:
    return heap_take(size)


cdef void* resize(void* block, size_t size, const char* file, int line) noexcept nogil:
    return heap_resize(block, size)


cdef void give(void* block, const char* file, int line) noexcept nogil:
    heap_give(block)


if POOLS:
    # Refused by a library that has been used, as Python's own may have been: that one keeps the functions of libc.
    (<set_mem_functions_fn>at("CRYPTO_set_mem_functions"))(take, resize, give)


cdef int failure_reason() noexcept:
    """The number of what the last call that failed says; the queue stays. Above 1000: an alert of the peer."""
    return <int>(ERR_peek_last_error() & 0x7FFFFF)


cdef str failure():
    """The reason of the last failed call, without secrets. Empties the queue of errors."""
    cdef const char* text
    cdef unsigned long code = ERR_peek_last_error()
    ERR_clear_error()
    text = ERR_reason_error_string(code) if code else NULL
    return text.decode("ascii", "replace") if text != NULL else "unknown error"


SSL_CTX_new_ex = <SSL_CTX_new_ex_fn>at("SSL_CTX_new_ex")
CRYPTO_get_ex_new_index = <CRYPTO_get_ex_new_index_fn>at("CRYPTO_get_ex_new_index")
SSL_CTX_free = <SSL_CTX_free_fn>at("SSL_CTX_free")
TLS_server_method = <TLS_server_method_fn>at("TLS_server_method")
SSL_CTX_ctrl = <SSL_CTX_ctrl_fn>at("SSL_CTX_ctrl")
SSL_CTX_set_options = <SSL_CTX_set_options_fn>at("SSL_CTX_set_options")
SSL_CTX_set_security_level = <SSL_CTX_set_security_level_fn>at("SSL_CTX_set_security_level")
SSL_CTX_get_security_level = <SSL_CTX_get_security_level_fn>at("SSL_CTX_get_security_level")
SSL_CTX_set_cipher_list = <SSL_CTX_set_cipher_list_fn>at("SSL_CTX_set_cipher_list")
SSL_CTX_set_ciphersuites = <SSL_CTX_set_ciphersuites_fn>at("SSL_CTX_set_ciphersuites")
SSL_CTX_set_num_tickets = <SSL_CTX_set_num_tickets_fn>at("SSL_CTX_set_num_tickets")
SSL_CTX_set_session_id_context = <SSL_CTX_set_session_id_context_fn>at("SSL_CTX_set_session_id_context")
SSL_CTX_set_verify = <SSL_CTX_set_verify_fn>at("SSL_CTX_set_verify")
SSL_CTX_get_cert_store = <SSL_CTX_get_cert_store_fn>at("SSL_CTX_get_cert_store")
SSL_CTX_add_client_CA = <SSL_CTX_add_client_CA_fn>at("SSL_CTX_add_client_CA")
SSL_CTX_set_client_hello_cb = <SSL_CTX_set_client_hello_cb_fn>at("SSL_CTX_set_client_hello_cb")
SSL_CTX_set_cert_cb = <SSL_CTX_set_cert_cb_fn>at("SSL_CTX_set_cert_cb")
SSL_CTX_set_alpn_select_cb = <SSL_CTX_set_alpn_select_cb_fn>at("SSL_CTX_set_alpn_select_cb")
SSL_get0_alpn_selected = <SSL_get0_alpn_selected_fn>at("SSL_get0_alpn_selected")
SSL_CTX_set_tlsext_ticket_key_evp_cb = <SSL_CTX_set_tlsext_ticket_key_evp_cb_fn>at("SSL_CTX_set_tlsext_ticket_key_evp_cb")
SSL_new = <SSL_new_fn>at("SSL_new")
SSL_free = <SSL_free_fn>at("SSL_free")
SSL_ctrl = <SSL_ctrl_fn>at("SSL_ctrl")
SSL_set_ex_data = <SSL_set_ex_data_fn>at("SSL_set_ex_data")
SSL_get_ex_data = <SSL_get_ex_data_fn>at("SSL_get_ex_data")
SSL_set_accept_state = <SSL_set_accept_state_fn>at("SSL_set_accept_state")
SSL_set_bio = <SSL_set_bio_fn>at("SSL_set_bio")
SSL_set_SSL_CTX = <SSL_set_SSL_CTX_fn>at("SSL_set_SSL_CTX")
SSL_set_options = <SSL_set_options_fn>at("SSL_set_options")
SSL_clear_options = <SSL_clear_options_fn>at("SSL_clear_options")
SSL_set_verify = <SSL_set_verify_fn>at("SSL_set_verify")
SSL_set_num_tickets = <SSL_set_num_tickets_fn>at("SSL_set_num_tickets")
SSL_set_ciphersuites = <SSL_set_ciphersuites_fn>at("SSL_set_ciphersuites")
SSL_use_cert_and_key = <SSL_use_cert_and_key_fn>at("SSL_use_cert_and_key")
SSL_client_hello_get0_ext = <SSL_client_hello_get0_ext_fn>at("SSL_client_hello_get0_ext")
SSL_do_handshake = <SSL_do_handshake_fn>at("SSL_do_handshake")
SSL_read_ex = <SSL_read_ex_fn>at("SSL_read_ex")
SSL_peek_ex = <SSL_peek_ex_fn>at("SSL_peek_ex")
SSL_write_ex = <SSL_write_ex_fn>at("SSL_write_ex")
SSL_get_error = <SSL_get_error_fn>at("SSL_get_error")
SSL_pending = <SSL_pending_fn>at("SSL_pending")
SSL_shutdown = <SSL_shutdown_fn>at("SSL_shutdown")
SSL_session_reused = <SSL_session_reused_fn>at("SSL_session_reused")
SSL_get_version = <SSL_get_version_fn>at("SSL_get_version")
SSL_version = <SSL_version_fn>at("SSL_version")
SSL_get_current_cipher = <SSL_get_current_cipher_fn>at("SSL_get_current_cipher")
SSL_CIPHER_standard_name = <SSL_CIPHER_standard_name_fn>at("SSL_CIPHER_standard_name")
OPENSSL_cipher_name = <OPENSSL_cipher_name_fn>at("OPENSSL_cipher_name")
BIO_meth_new = <BIO_meth_new_fn>at("BIO_meth_new")
BIO_get_new_index = <BIO_get_new_index_fn>at("BIO_get_new_index")
BIO_meth_set_read_ex = <BIO_meth_set_read_ex_fn>at("BIO_meth_set_read_ex")
BIO_meth_set_write_ex = <BIO_meth_set_write_ex_fn>at("BIO_meth_set_write_ex")
BIO_meth_set_ctrl = <BIO_meth_set_ctrl_fn>at("BIO_meth_set_ctrl")
BIO_new = <BIO_new_fn>at("BIO_new")
BIO_free = <BIO_free_fn>at("BIO_free")
BIO_new_mem_buf = <BIO_new_mem_buf_fn>at("BIO_new_mem_buf")
BIO_s_mem = <BIO_s_mem_fn>at("BIO_s_mem")
BIO_ctrl = <BIO_ctrl_fn>at("BIO_ctrl")
BIO_set_data = <BIO_set_data_fn>at("BIO_set_data")
BIO_get_data = <BIO_get_data_fn>at("BIO_get_data")
BIO_set_init = <BIO_set_init_fn>at("BIO_set_init")
BIO_set_flags = <BIO_set_flags_fn>at("BIO_set_flags")
BIO_clear_flags = <BIO_clear_flags_fn>at("BIO_clear_flags")
ERR_clear_error = <ERR_clear_error_fn>at("ERR_clear_error")
ERR_get_error = <ERR_get_error_fn>at("ERR_get_error")
ERR_peek_last_error = <ERR_peek_last_error_fn>at("ERR_peek_last_error")
ERR_reason_error_string = <ERR_reason_error_string_fn>at("ERR_reason_error_string")
PEM_read_bio_X509 = <PEM_read_bio_X509_fn>at("PEM_read_bio_X509")
PEM_read_bio_PrivateKey = <PEM_read_bio_PrivateKey_fn>at("PEM_read_bio_PrivateKey")
PEM_write_bio_X509 = <PEM_write_bio_X509_fn>at("PEM_write_bio_X509")
PEM_write_bio_PKCS8PrivateKey = <PEM_write_bio_PKCS8PrivateKey_fn>at("PEM_write_bio_PKCS8PrivateKey")
X509_free = <X509_free_fn>at("X509_free")
X509_new = <X509_new_fn>at("X509_new")
X509_set_version = <X509_set_version_fn>at("X509_set_version")
X509_get_serialNumber = <X509_get_serialNumber_fn>at("X509_get_serialNumber")
ASN1_INTEGER_set_uint64 = <ASN1_INTEGER_set_uint64_fn>at("ASN1_INTEGER_set_uint64")
X509_getm_notBefore = <X509_getm_notBefore_fn>at("X509_getm_notBefore")
X509_getm_notAfter = <X509_getm_notAfter_fn>at("X509_getm_notAfter")
X509_gmtime_adj = <X509_gmtime_adj_fn>at("X509_gmtime_adj")
X509_set_pubkey = <X509_set_pubkey_fn>at("X509_set_pubkey")
X509_set_issuer_name = <X509_set_issuer_name_fn>at("X509_set_issuer_name")
X509_get_subject_name = <X509_get_subject_name_fn>at("X509_get_subject_name")
X509_NAME_add_entry_by_txt = <X509_NAME_add_entry_by_txt_fn>at("X509_NAME_add_entry_by_txt")
X509_NAME_get_text_by_NID = <X509_NAME_get_text_by_NID_fn>at("X509_NAME_get_text_by_NID")
X509_sign = <X509_sign_fn>at("X509_sign")
X509_add_ext = <X509_add_ext_fn>at("X509_add_ext")
X509V3_EXT_conf_nid = <X509V3_EXT_conf_nid_fn>at("X509V3_EXT_conf_nid")
X509_EXTENSION_free = <X509_EXTENSION_free_fn>at("X509_EXTENSION_free")
X509_check_private_key = <X509_check_private_key_fn>at("X509_check_private_key")
X509_get_ext_d2i = <X509_get_ext_d2i_fn>at("X509_get_ext_d2i")
X509_get0_notAfter = <X509_get0_notAfter_fn>at("X509_get0_notAfter")
ASN1_TIME_diff = <ASN1_TIME_diff_fn>at("ASN1_TIME_diff")
X509_STORE_add_cert = <X509_STORE_add_cert_fn>at("X509_STORE_add_cert")
X509_STORE_set_flags = <X509_STORE_set_flags_fn>at("X509_STORE_set_flags")
GENERAL_NAMES_free = <GENERAL_NAMES_free_fn>at("GENERAL_NAMES_free")
GENERAL_NAME_get0_value = <GENERAL_NAME_get0_value_fn>at("GENERAL_NAME_get0_value")
ASN1_STRING_get0_data = <ASN1_STRING_get0_data_fn>at("ASN1_STRING_get0_data")
ASN1_STRING_length = <ASN1_STRING_length_fn>at("ASN1_STRING_length")
OPENSSL_sk_new_null = <OPENSSL_sk_new_null_fn>at("OPENSSL_sk_new_null")
OPENSSL_sk_push = <OPENSSL_sk_push_fn>at("OPENSSL_sk_push")
OPENSSL_sk_num = <OPENSSL_sk_num_fn>at("OPENSSL_sk_num")
OPENSSL_sk_value = <OPENSSL_sk_value_fn>at("OPENSSL_sk_value")
OPENSSL_sk_free = <OPENSSL_sk_free_fn>at("OPENSSL_sk_free")
EVP_PKEY_free = <EVP_PKEY_free_fn>at("EVP_PKEY_free")
EVP_PKEY_is_a = <EVP_PKEY_is_a_fn>at("EVP_PKEY_is_a")
EVP_CIPHER_fetch = <EVP_CIPHER_fetch_fn>at("EVP_CIPHER_fetch")
EVP_EncryptInit_ex = <EVP_EncryptInit_ex_fn>at("EVP_EncryptInit_ex")
EVP_DecryptInit_ex = <EVP_DecryptInit_ex_fn>at("EVP_DecryptInit_ex")
EVP_MAC_CTX_set_params = <EVP_MAC_CTX_set_params_fn>at("EVP_MAC_CTX_set_params")
EVP_sha256 = <EVP_sha256_fn>at("EVP_sha256")
RAND_bytes = <RAND_bytes_fn>at("RAND_bytes")
EVP_PKEY_CTX_new_from_name = <EVP_PKEY_CTX_new_from_name_fn>at("EVP_PKEY_CTX_new_from_name")
EVP_PKEY_CTX_free = <EVP_PKEY_CTX_free_fn>at("EVP_PKEY_CTX_free")
EVP_PKEY_keygen_init = <EVP_PKEY_keygen_init_fn>at("EVP_PKEY_keygen_init")
EVP_PKEY_CTX_set_params = <EVP_PKEY_CTX_set_params_fn>at("EVP_PKEY_CTX_set_params")
EVP_PKEY_generate = <EVP_PKEY_generate_fn>at("EVP_PKEY_generate")
TLS_client_method = <TLS_client_method_fn>at("TLS_client_method")
SSL_CTX_set1_cert_store = <SSL_CTX_set1_cert_store_fn>at("SSL_CTX_set1_cert_store")
SSL_CTX_use_cert_and_key = <SSL_CTX_use_cert_and_key_fn>at("SSL_CTX_use_cert_and_key")
SSL_CTX_sess_set_new_cb = <SSL_CTX_sess_set_new_cb_fn>at("SSL_CTX_sess_set_new_cb")
SSL_set_connect_state = <SSL_set_connect_state_fn>at("SSL_set_connect_state")
SSL_set1_host = <SSL_set1_host_fn>at("SSL_set1_host")
SSL_set_hostflags = <SSL_set_hostflags_fn>at("SSL_set_hostflags")
SSL_get0_param = <SSL_get0_param_fn>at("SSL_get0_param")
SSL_set_alpn_protos = <SSL_set_alpn_protos_fn>at("SSL_set_alpn_protos")
SSL_set_session = <SSL_set_session_fn>at("SSL_set_session")
SSL_SESSION_free = <SSL_SESSION_free_fn>at("SSL_SESSION_free")
SSL_get_verify_result = <SSL_get_verify_result_fn>at("SSL_get_verify_result")
SSL_get1_peer_certificate = <SSL_get1_peer_certificate_fn>at("SSL_get1_peer_certificate")
SSL_get_peer_cert_chain = <SSL_get_peer_cert_chain_fn>at("SSL_get_peer_cert_chain")
X509_verify_cert_error_string = <X509_verify_cert_error_string_fn>at("X509_verify_cert_error_string")
X509_VERIFY_PARAM_set1_ip_asc = <X509_VERIFY_PARAM_set1_ip_asc_fn>at("X509_VERIFY_PARAM_set1_ip_asc")
X509_STORE_new = <X509_STORE_new_fn>at("X509_STORE_new")
X509_STORE_free = <X509_STORE_free_fn>at("X509_STORE_free")
X509_STORE_load_file = <X509_STORE_load_file_fn>at("X509_STORE_load_file")
X509_STORE_load_path = <X509_STORE_load_path_fn>at("X509_STORE_load_path")
X509_STORE_CTX_new = <X509_STORE_CTX_new_fn>at("X509_STORE_CTX_new")
X509_STORE_CTX_free = <X509_STORE_CTX_free_fn>at("X509_STORE_CTX_free")
X509_STORE_CTX_init = <X509_STORE_CTX_init_fn>at("X509_STORE_CTX_init")
X509_STORE_CTX_set_default = <X509_STORE_CTX_set_default_fn>at("X509_STORE_CTX_set_default")
X509_STORE_CTX_get0_param = <X509_STORE_CTX_get0_param_fn>at("X509_STORE_CTX_get0_param")
X509_VERIFY_PARAM_set_auth_level = <X509_VERIFY_PARAM_set_auth_level_fn>at("X509_VERIFY_PARAM_set_auth_level")
X509_verify_cert = <X509_verify_cert_fn>at("X509_verify_cert")
BIO_read_ex = <BIO_read_ex_fn>at("BIO_read_ex")
BIO_write_ex = <BIO_write_ex_fn>at("BIO_write_ex")
BIO_ctrl_pending = <BIO_ctrl_pending_fn>at("BIO_ctrl_pending")
X509_NAME_print_ex = <X509_NAME_print_ex_fn>at("X509_NAME_print_ex")
SSL_CTX_callback_ctrl = <SSL_CTX_callback_ctrl_fn>at("SSL_CTX_callback_ctrl")
SSL_get_certificate = <SSL_get_certificate_fn>at("SSL_get_certificate")
CRYPTO_malloc = <CRYPTO_malloc_fn>at("CRYPTO_malloc")
SSL_get0_verified_chain = <SSL_get0_verified_chain_fn>at("SSL_get0_verified_chain")
X509_get_extension_flags = <X509_get_extension_flags_fn>at("X509_get_extension_flags")
X509_get_key_usage = <X509_get_key_usage_fn>at("X509_get_key_usage")
