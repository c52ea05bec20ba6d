// Beside bindings/kotlin, which it takes as a project. Not built in CI here, which has no Android SDK.
plugins {
    id("com.android.application") version "8.7.0"
    id("org.jetbrains.kotlin.android") version "2.1.0"
}

android {
    namespace = "org.clave.sample.android"
    compileSdk = 35
    defaultConfig {
        applicationId = "org.clave.sample.team"
        minSdk = 26
        targetSdk = 35
        versionName = "0.1.0"
        versionCode = 1
    }
    // What both windows share: compiled and tested with the desktop's.
    sourceSets["main"].kotlin.srcDir("../kotlin-desktop/model")
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    implementation(project(":clave"))
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.lifecycle:lifecycle-runtime-ktx:2.8.7")
    implementation("androidx.lifecycle:lifecycle-viewmodel-ktx:2.8.7")
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.9.0")
}
