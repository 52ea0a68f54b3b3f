/* An example of the C ABI from Node.js: fill(buffer), generation() and isCurrent(token), by way of Node-API. */
#include <node_api.h>
#include <snaprng.h>

#include <string.h>

static napi_value fail(napi_env env, int code)
{
    napi_throw_error(env, NULL, snaprng_strerror(code));
    return NULL;
}

/* The bytes of the Uint8Array that is the only argument. */
static int argument(napi_env env, napi_callback_info info, void **bytes, size_t *length)
{
    size_t count = 1;
    napi_value value;
    napi_typedarray_type type;
    bool is_array = false;
    if (napi_get_cb_info(env, info, &count, &value, NULL, NULL) != napi_ok || count != 1)
        return 0;
    if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array)
        return 0;
    return napi_get_typedarray_info(env, value, &type, length, bytes, NULL, NULL) == napi_ok &&
           type == napi_uint8_array;
}

static napi_value fill(napi_env env, napi_callback_info info)
{
    void *bytes;
    size_t length;
    int code = argument(env, info, &bytes, &length) ? snaprng_fill(bytes, length) : SNAPRNG_EINVAL;
    return code == SNAPRNG_OK ? NULL : fail(env, code);
}

static napi_value generation(napi_env env, napi_callback_info info)
{
    void *copy;
    napi_value token;
    snaprng_generation_t now;
    int code = snaprng_generation(&now);
    (void)info;
    if (code != SNAPRNG_OK)
        return fail(env, code);
    if (napi_create_buffer_copy(env, sizeof now, &now, &copy, &token) != napi_ok)
        return NULL;
    return token;
}

static napi_value is_current(napi_env env, napi_callback_info info)
{
    void *bytes;
    size_t length;
    snaprng_generation_t token;
    napi_value answer;
    if (!argument(env, info, &bytes, &length) || length != sizeof token)
        return fail(env, SNAPRNG_EINVAL);
    memcpy(&token, bytes, sizeof token);
    napi_get_boolean(env, snaprng_generation_is_current(&token) == 1, &answer);
    return answer;
}

static napi_value notify_restored(napi_env env, napi_callback_info info)
{
    void *bytes;
    size_t length;
    int code = argument(env, info, &bytes, &length) ? snaprng_notify_restored(bytes, length) : SNAPRNG_EINVAL;
    return code == SNAPRNG_OK ? NULL : fail(env, code);
}

NAPI_MODULE_INIT()
{
    static const napi_property_descriptor functions[] = {
        {"fill", NULL, fill, NULL, NULL, NULL, napi_enumerable, NULL},
        {"generation", NULL, generation, NULL, NULL, NULL, napi_enumerable, NULL},
        {"isCurrent", NULL, is_current, NULL, NULL, NULL, napi_enumerable, NULL},
        {"notifyRestored", NULL, notify_restored, NULL, NULL, NULL, napi_enumerable, NULL},
    };
    napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
    return exports;
}
