//! What `bindgen!` makes of `wit/`: the imports of the component beyond WASI itself. They are
//! implemented in `imports`.

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package svix-relay:host;

            world host {
                include svix-relay:component/relay@0.1.0;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
            }
        ",
        world: "svix-relay:host/host",
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
