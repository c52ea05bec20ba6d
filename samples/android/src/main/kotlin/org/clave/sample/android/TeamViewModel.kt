package org.clave.sample.android

import android.app.Application
import android.net.ConnectivityManager
import android.net.wifi.WifiManager
import android.os.Build
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.clave.ClaveException
import org.clave.NetworkOptions
import org.clave.NodeOptions
import org.clave.nodeExists
import org.clave.sample.Team

/** Survives a turn of the screen. Sleeps when the app is out of sight, so that the system finds no lock, socket or thread. */
class TeamViewModel(application: Application) : AndroidViewModel(application) {
    val team = MutableStateFlow<Team?>(null)
    val refused = MutableStateFlow<String?>(null)
    private val directory = application.filesDir.resolve("clave").path
    private val multicast = application.getSystemService(WifiManager::class.java).createMulticastLock("team")
    /** Waking and sleeping, one after the other, however fast the person leaves and comes back. */
    private val turns = Mutex()

    val isNew: Boolean get() = !nodeExists(directory)

    fun open(person: String, link: String?): Job = viewModelScope.launch {
        refused.value = null
        try {
            team.value = Team.open(options(), person, Build.MODEL, link, viewModelScope)
        } catch (error: ClaveException) {
            refused.value = error.reason()
        }
    }

    fun visible() = turn {
        multicast.acquire()
        team.value?.wake()
    }

    fun hidden() = turn {
        if (multicast.isHeld) multicast.release()
        team.value?.sleep()
    }

    private fun turn(work: suspend () -> Unit) = viewModelScope.launch {
        turns.withLock {
            try {
                withContext(NonCancellable) { work() }
            } catch (error: ClaveException) {
                // `store.busy`: a background job has the directory, and lets go of it soon.
                refused.value = error.reason()
            }
        }
    }

    /** Android alone knows its name servers; without them names in addresses cannot be dialled. */
    private fun options(): NodeOptions {
        val networks = getApplication<Application>().getSystemService(ConnectivityManager::class.java)
        val servers = networks.getLinkProperties(networks.activeNetwork)?.dnsServers.orEmpty().mapNotNull { it.hostAddress }
        // An app that ships draws a passphrase once and keeps it in the Keystore; without one the vault's key lies beside it.
        return NodeOptions(directory, network = NetworkOptions(nameServers = servers))
    }
}
