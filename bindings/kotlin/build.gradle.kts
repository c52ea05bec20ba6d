// The Android module: generated code, wrappers, and the library for each ABI, which android.sh puts into jniLibs/.
// Never built here: the plugins are on Maven and Google's servers alone, and Debian's Gradle (4.4) is too old for either. The same
// sources are compiled and run by test.sh on the JVM, and by test-jar.sh from the jar.
plugins {
    id("com.android.library") version "8.7.0"
    id("org.jetbrains.kotlin.android") version "2.1.0"
}

android {
    namespace = "org.clave"
    compileSdk = 35
    defaultConfig {
        minSdk = 26
        consumerProguardFiles("consumer-rules.pro")
    }
    sourceSets["main"].apply {
        manifest.srcFile("android/AndroidManifest.xml")
        kotlin.srcDirs("generated", "src")
        jniLibs.srcDirs("jniLibs")
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.9.0")
    implementation("net.java.dev.jna:jna:5.15.0@aar")
}
