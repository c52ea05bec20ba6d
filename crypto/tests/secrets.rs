//! No secret can be printed, copied or serialised by accident. Checked by the compiler: each line below is ambiguous,
//! and does not compile, if the type implements the trait.

use std::fmt::Debug;

use clave_crypto::{
    ChunkKey, ContentKey, DeviceKey, Entropy, Handshake, PersonKey, RecoveryKey, RecoveryPhrase, SasExchange, Session,
    VaultKey, WrappedVaultKey,
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

            let () = <ChunkKey as Ambiguous<_>>::FINE;
            let () = <ContentKey as Ambiguous<_>>::FINE;
            let () = <DeviceKey as Ambiguous<_>>::FINE;
            let () = <Entropy as Ambiguous<_>>::FINE;
            let () = <Handshake as Ambiguous<_>>::FINE;
            let () = <PersonKey as Ambiguous<_>>::FINE;
            let () = <RecoveryKey as Ambiguous<_>>::FINE;
            let () = <RecoveryPhrase as Ambiguous<_>>::FINE;
            let () = <SasExchange as Ambiguous<_>>::FINE;
            let () = <Session as Ambiguous<_>>::FINE;
            let () = <VaultKey as Ambiguous<_>>::FINE;
            let () = <WrappedVaultKey as Ambiguous<_>>::FINE;
        })+
    };
}

const _: () = {
    never!(Clone, Debug, serde::Serialize);
};
