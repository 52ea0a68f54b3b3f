//! The OpenSSL provider, asked by a core that is not OpenSSL: arrays of `OSSL_PARAM` of any types,
//! sizes and pointers, and lines of configuration of any text. The target is that core, so it
//! reaches everything as OpenSSL does, from `OSSL_provider_init` on.
//!
//! Expected is what `OSSL_PARAM_set_uint64` and `OSSL_PARAM_set_utf8_*` document: a value is written
//! whole within its memory, or refused with the size that it needs.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use libfuzzer_sys::fuzz_target;
use snaprng_fuzz::{Guarded, Input};
use snaprng_openssl as _;

/// `openssl/core.h`, `struct ossl_param_st`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Param {
    key: *const c_char,
    data_type: c_uint,
    data: *mut c_void,
    data_size: usize,
    return_size: usize,
}

type Function = unsafe extern "C" fn();

/// `openssl/core.h`, `struct ossl_dispatch_st`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Dispatch {
    number: c_int,
    function: Option<Function>,
}

/// `openssl/core.h`, `struct ossl_algorithm_st`.
#[repr(C)]
struct Algorithm {
    names: *const c_char,
    properties: *const c_char,
    implementation: *const Dispatch,
    description: *const c_char,
}

unsafe extern "C" {
    fn OSSL_provider_init(
        handle: *const c_void,
        offered: *const Dispatch,
        functions: *mut *const Dispatch,
        context: *mut *mut c_void,
    ) -> c_int;
}

type GetParams = unsafe extern "C" fn(*mut c_void, *mut Param) -> c_int;
type Query = unsafe extern "C" fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm;
type NewContext = unsafe extern "C" fn(*mut c_void, *mut c_void, *const Dispatch) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

// The core.

thread_local! {
    /// The provider's section of the configuration.
    static LINES: RefCell<HashMap<Vec<u8>, CString>> = RefCell::default();
    /// Errors on the stack: reason and text.
    static ERRORS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C" fn core_get_params(_: *const c_void, params: *mut Param) -> c_int {
    let mut next = params;
    LINES.with_borrow(|lines| {
        loop {
            // SAFETY: an array that ends with a null key.
            let param = unsafe { &mut *next };
            if param.key.is_null() {
                return 1;
            }
            // SAFETY: before the end, a string.
            if let Some(value) = lines.get(unsafe { CStr::from_ptr(param.key) }.to_bytes()) {
                // SAFETY: the answer's place; the line outlives the load.
                unsafe { param.data.cast::<*const c_char>().write(value.as_ptr()) };
            }
            next = next.wrapping_add(1);
        }
    })
}

unsafe extern "C" fn new_error(_: *const c_void) {}

unsafe extern "C" fn set_debug(_: *const c_void, _: *const c_char, _: c_int, _: *const c_char) {}

unsafe extern "C" fn vset_error(
    _: *const c_void,
    reason: u32,
    text: *const c_char,
    _: *mut c_void,
) {
    // SAFETY: a string.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    assert!(text.len() < 1024, "OpenSSL 3.0 drops longer ones");
    let conversions = text.split(|byte| *byte == b'%').collect::<Vec<_>>();
    assert!(conversions.len() % 2 == 1, "a conversion: {}", String::from_utf8_lossy(text));
    ERRORS.with_borrow_mut(|errors| errors.push(reason));
}

/// A function of the table that a provider is given.
macro_rules! entry {
    ($number:literal, $function:ident as $type:ty) => {
        Dispatch {
            number: $number,
            // SAFETY: called by its number, which says this type.
            function: Some(unsafe { std::mem::transmute::<$type, Function>($function) }),
        }
    };
}

fn core() -> [Dispatch; 5] {
    type Ask = unsafe extern "C" fn(*const c_void, *mut Param) -> c_int;
    type New = unsafe extern "C" fn(*const c_void);
    type Debug = unsafe extern "C" fn(*const c_void, *const c_char, c_int, *const c_char);
    type Set = unsafe extern "C" fn(*const c_void, u32, *const c_char, *mut c_void);
    [
        entry!(2, core_get_params as Ask),
        entry!(5, new_error as New),
        entry!(6, set_debug as Debug),
        entry!(7, vset_error as Set),
        Dispatch { number: 0, function: None },
    ]
}

/// What a load gave.
#[derive(Clone, Copy)]
struct Provider {
    functions: *const Dispatch,
    context: *mut c_void,
}

/// Loads the provider with these lines.
fn load(lines: HashMap<Vec<u8>, CString>) -> Option<Provider> {
    LINES.set(lines);
    let table = core();
    let (mut functions, mut context) = (null(), null_mut());
    // SAFETY: a table that ends with 0; two places.
    let loaded =
        unsafe { OSSL_provider_init(null(), table.as_ptr(), &raw mut functions, &raw mut context) };
    (loaded == 1).then_some(Provider { functions, context })
}

/// The function of a number in a table.
fn find(table: *const Dispatch, number: c_int) -> Function {
    let mut next = table;
    loop {
        // SAFETY: a table that ends with 0.
        let entry = unsafe { *next };
        assert_ne!(entry.number, 0, "there is no function {number}");
        if entry.number == number {
            return entry.function.expect("a function");
        }
        next = next.wrapping_add(1);
    }
}

/// As the type that the number says: whoever calls it vouches for the arguments.
macro_rules! call {
    ($table:expr, $number:literal, $type:ty) => {
        std::mem::transmute::<Function, $type>(find($table, $number))
    };
}

impl Provider {
    fn rand(self) -> *const Dispatch {
        let mut no_cache = 0;
        // SAFETY: the provider's own context.
        let all = unsafe { call!(self.functions, 1027, Query)(self.context, 5, &raw mut no_cache) };
        // SAFETY: the first of at least one.
        unsafe { (*all).implementation }
    }

    fn new_context(self) -> *mut c_void {
        // SAFETY: the provider's own context; no parent.
        unsafe { call!(self.rand(), 1, NewContext)(self.context, null_mut(), null()) }
    }

    fn tear_down(self) {
        // SAFETY: not used any more.
        unsafe { call!(self.functions, 1024, Free)(self.context) };
    }
}

// Arrays of parameters.

/// The numbers of a context, and of the provider, that are known; `None` for any.
const OF_CONTEXT: [(&str, Option<u64>); 7] = [
    ("state", Some(0)),
    ("strength", Some(256)),
    ("max_request", Some(isize::MAX as u64)),
    ("requests", None),
    ("bytes", None),
    ("reseeds", None),
    ("failures", None),
];
const OF_PROVIDER: [(&str, Option<u64>); 6] = [
    ("status", Some(1)),
    ("requests", None),
    ("bytes", None),
    ("reseeds", None),
    ("failures", None),
    ("rekeys", None),
];
const TEXTS: [&str; 4] = ["name", "version", "buildinfo", "level"];

const UNMODIFIED: usize = usize::MAX;
const FILLER: u8 = 0xcc;

/// How many bytes hold the number: one bit more where it has a sign.
fn bytes_of(value: u64, is_signed: bool) -> usize {
    (1..).find(|n| value as u128 >> (8 * n - usize::from(is_signed)) == 0).unwrap()
}

fn check_number(param: &Param, memory: &[u8], value: Option<u64>, answered: bool) {
    let is_signed = match param.data_type {
        1 => true,
        2 => false,
        _ => return assert!(!answered, "a number of type {}", param.data_type),
    };
    if param.data.is_null() {
        return assert!(answered && param.return_size == 8);
    }
    if let Some(value) = value {
        assert_eq!(answered, memory.len() >= bytes_of(value, is_signed));
    }
    if !answered {
        assert!(param.return_size > memory.len() && param.return_size <= 9);
        return assert!(memory.iter().all(|byte| *byte == FILLER), "written in part");
    }
    assert_eq!(param.return_size, memory.len());
    let told = memory
        .iter()
        .rev()
        .try_fold(0_u128, |sum, byte| sum.checked_mul(256).map(|sum| sum | u128::from(*byte)));
    assert!(told.is_some_and(|told| value.is_none_or(|value| told == value.into())), "{memory:?}");
}

fn check_text(param: &Param, memory: &[u8], answered: bool) {
    match param.data_type {
        4 | 6 if param.data.is_null() => assert!(answered && param.return_size > 0),
        4 => {
            let length = param.return_size;
            assert_eq!(answered, memory.len() >= length);
            if answered {
                assert!(memory[..length].iter().all(|byte| (0x20..0x7f).contains(byte)));
                assert!(memory.get(length).is_none_or(|byte| *byte == 0));
            }
            let rest = if answered { length + 1 } else { 0 };
            assert!(memory.iter().skip(rest).all(|byte| *byte == FILLER));
        }
        6 => {
            let text = usize::from_ne_bytes(memory[..8].try_into().unwrap()) as *const c_char;
            // SAFETY: a constant of the provider.
            let length = unsafe { CStr::from_ptr(text) }.count_bytes();
            assert!(answered && length == param.return_size);
        }
        other => assert!(!answered, "a text of type {other}"),
    }
}

fn ask(input: &mut Input<'_>, memory: &mut [Guarded; 4], provider: Provider, context: *mut c_void) {
    let of_context = input.byte() & 1 == 0;
    let numbers: &[(&str, Option<u64>)] = if of_context { &OF_CONTEXT } else { &OF_PROVIDER };
    let mut keys = Vec::new();
    let mut params = Vec::new();
    let count = 1 + usize::from(input.byte() % 4);
    for memory in memory.iter_mut().take(count) {
        let pick = usize::from(input.byte()) % 14;
        let key = match (numbers.get(pick), TEXTS.get(pick.wrapping_sub(8))) {
            (Some((key, _)), _) => key.as_bytes().to_vec(),
            (_, Some(key)) => key.as_bytes().to_vec(),
            _ => input.bytes(6).iter().copied().filter(|byte| *byte != 0).collect(),
        };
        let other = input.number::<4>() as c_uint;
        let data_type = input.choice(&[2, 1, 4, 6, 3, 5, 7, 0, 2, 1, other]);
        let size = usize::from(input.byte()) % 64;
        let far = usize::MAX - size;
        let data_size = if data_type == 6 { input.choice(&[8, 0, far]) } else { size };
        let is_null = input.byte().is_multiple_of(4);
        let room = if data_type == 6 { 8 } else { size };
        let data = if is_null { null_mut() } else { memory.hold(&vec![FILLER; room]) };
        keys.push(CString::new(key).expect("no zero"));
        params.push(Param {
            key: keys[keys.len() - 1].as_ptr(),
            data_type,
            data: data.cast(),
            data_size: if is_null { input.choice(&[0, size, far]) } else { data_size },
            return_size: UNMODIFIED,
        });
    }
    let end = Param { key: null(), data_type: 0, data: null_mut(), data_size: 0, return_size: 0 };
    params.push(end);
    // SAFETY: the table of the provider or of its generators, what they made, and an array that ends.
    let answer = unsafe {
        if of_context {
            call!(provider.rand(), 15, GetParams)(context, params.as_mut_ptr())
        } else {
            call!(provider.functions, 1026, GetParams)(provider.context, params.as_mut_ptr())
        }
    };
    let mut is_over = false;
    for ((param, key), memory) in params.iter().zip(&keys).zip(memory) {
        let key = key.to_str().unwrap_or("");
        let number = numbers.iter().find(|(name, _)| *name == key);
        let is_text = !of_context && TEXTS.contains(&key);
        let is_null = param.data.is_null();
        let held = if is_null { Vec::new() } else { memory.held() };
        if is_over || (number.is_none() && !is_text) {
            // Not known, or behind one that was refused.
            assert_eq!(param.return_size, UNMODIFIED);
            assert!(held.iter().all(|byte| *byte == FILLER));
            continue;
        }
        // The first that is refused ends it; which one, its answer tells.
        let fits = match number {
            Some(_) => {
                [1, 2].contains(&param.data_type)
                    && param.return_size <= param.data_size.max(8 * usize::from(is_null))
            }
            None => {
                (param.data_type == 6)
                    || (param.data_type == 4 && (is_null || param.return_size <= held.len()))
            }
        };
        is_over = !fits;
        match number {
            Some((_, value)) => check_number(param, &held, *value, fits),
            None => check_text(param, &held, fits),
        }
    }
    assert_eq!(answer, c_int::from(!is_over));
}

// Lines of configuration.

/// What the first load decided.
const IN_FORCE: [(&str, &str); 3] =
    [("policy", "prefer"), ("vmclock", "off"), ("agent_page", "off")];
const NAMES: [&str; 12] = [
    "policy",
    "vmclock",
    "agent_page",
    "activate",
    "accept_late",
    "sysgenid",
    "polcy",
    "require",
    "Vmclock",
    "agent-page",
    "identity",
    "module",
];
const VALUES: [&str; 8] =
    ["prefer", "off", "require", "/dev/vmclock0", "", "1", "100% %s %n", "\u{e4}/\u{1f600}"];

fn configure(input: &mut Input<'_>) {
    let mut lines = HashMap::new();
    for _ in 0..=input.byte() % 4 {
        let name = input.choice(&NAMES).as_bytes().to_vec();
        let pick = usize::from(input.byte()) % 10;
        let value = match VALUES.get(pick) {
            Some(value) => value.as_bytes().to_vec(),
            None => {
                let text: Vec<u8> =
                    input.bytes(200).iter().copied().filter(|byte| *byte != 0).collect();
                if pick == 8 { <[u8]>::repeat(&text, 8) } else { text }
            }
        };
        lines.insert(name, CString::new(value).expect("no zero"));
    }
    // Lines that are not understood, and those that say something else than the first load's.
    let is_refused =
        lines.iter().any(|(name, value)| match NAMES.iter().position(|n| n.as_bytes() == name) {
            Some(0..=2) => !IN_FORCE
                .iter()
                .any(|(n, v)| n.as_bytes() == name && v.as_bytes() == value.to_bytes()),
            Some(4..=9) => true,
            _ => false,
        });
    let activates = lines.contains_key(&b"activate"[..]);
    ERRORS.take();
    let loaded = load(lines);
    assert_eq!(loaded.is_some(), activates || !is_refused);
    assert_eq!(ERRORS.take().is_empty(), loaded.is_some());
    if let Some(provider) = loaded {
        let context = provider.new_context();
        assert_eq!(context.is_null(), is_refused);
        assert_eq!(ERRORS.take().is_empty(), !is_refused);
        if !context.is_null() {
            // SAFETY: made above, not used any more.
            unsafe { call!(provider.rand(), 2, Free)(context) };
        }
        provider.tear_down();
    }
}

thread_local! {
    static PROVIDER: Provider = load(
        IN_FORCE.iter().map(|(name, value)| {
            (name.as_bytes().to_vec(), CString::new(*value).expect("no zero"))
        }).collect(),
    ).expect("the first load");
    static MEMORY: RefCell<[Guarded; 4]> = RefCell::new(std::array::from_fn(|_| Guarded::new()));
}

fuzz_target!(init: { PROVIDER.with(|_| ()); }, |bytes: &[u8]| {
    let mut input = Input(bytes);
    if input.byte() % 8 == 7 {
        return configure(&mut input);
    }
    let provider = PROVIDER.with(|provider| *provider);
    let context = provider.new_context();
    MEMORY.with_borrow_mut(|memory| ask(&mut input, memory, provider, context));
    // SAFETY: made above, not used any more.
    unsafe { call!(provider.rand(), 2, Free)(context) };
});
