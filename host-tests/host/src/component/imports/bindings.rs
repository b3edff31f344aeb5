//! The types that `bindgen!` makes of `wit/`, for the imports of the component beyond WASI.

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "relay",
        imports: {
            "wasi:keyvalue/store.[drop]bucket": trappable,
            "wasi:keyvalue": async | trappable,
            default: trappable,
        },
        with: {
            "spin:key-value/key-value.store": crate::component::imports::stores::OpenStore,
            "wasi:keyvalue/store.bucket": crate::component::imports::stores::OpenStore,
        },
    });
}

pub(super) use generated::spin;
pub(super) use generated::wasi;
