//! No secret can be printed, copied or serialised by accident. Checked by the compiler: each line below is ambiguous,
//! and does not compile, if the type implements the trait.

use std::fmt::Debug;

use clave_crypto::{
    ChunkKey, ContentKey, DeviceKey, Entropy, Handshake, PersonKey, Session, VaultKey, WrappedVaultKey,
};

macro_rules! never {
    ($($bound:path),+) => {
        $({
            trait Ambiguous<Marker> {
                const FINE: () = ();
            }
            impl<T> Ambiguous<()> for T {}
            struct Implemented;
            impl<T: $bound> Ambiguous<Implemented> for T {}

            <ChunkKey as Ambiguous<_>>::FINE;
            <ContentKey as Ambiguous<_>>::FINE;
            <DeviceKey as Ambiguous<_>>::FINE;
            <Entropy as Ambiguous<_>>::FINE;
            <Handshake as Ambiguous<_>>::FINE;
            <PersonKey as Ambiguous<_>>::FINE;
            <Session as Ambiguous<_>>::FINE;
            <VaultKey as Ambiguous<_>>::FINE;
            <WrappedVaultKey as Ambiguous<_>>::FINE;
        })+
    };
}

const _: () = {
    never!(Clone, Debug, serde::Serialize);
};
