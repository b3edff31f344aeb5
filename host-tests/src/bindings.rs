//! What `bindgen!` makes of `wit/`: the imports of the component beyond WASI itself. They are
//! implemented in `imports`.

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "relay",
        imports: {
            "wasi:keyvalue/store.[drop]bucket": trappable,
            "wasi:keyvalue/atomics.[drop]cas": trappable,
            "wasi:keyvalue": async | trappable,
            default: trappable,
        },
        with: {
            "spin:key-value/key-value.store": crate::imports::OpenStore,
            "wasi:keyvalue/store.bucket": crate::imports::OpenStore,
            "wasi:keyvalue/atomics.cas": crate::imports::Cas,
        },
    });
}

pub(crate) use generated::spin;
pub(crate) use generated::wasi;
