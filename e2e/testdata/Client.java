import java.io.FileInputStream;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * A client: java Client.java PORT AUTHORITY PATH NAME...
 *
 * <p>Gets PATH from each name with TLS 1.2 and with TLS 1.3, all from 127.0.0.1:PORT, and prints what it saw, a line of
 * JSON for each.
 */
public class Client {
    public static void main(String[] args) throws Exception {
        SSLContext context = trusting(args[1]);
        for (String name : Arrays.copyOfRange(args, 3, args.length)) {
            for (String version : List.of("TLSv1.2", "TLSv1.3")) {
                get(context, Integer.parseInt(args[0]), name, args[2], version);
            }
        }
    }

    static SSLContext trusting(String authority) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = new FileInputStream(authority)) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    static void get(SSLContext context, int port, String name, String path, String version) throws Exception {
        Socket tcp = new Socket("127.0.0.1", port);
        try (SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(tcp, name, port, true)) {
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setServerNames(List.of(new SNIHostName(name)));
            parameters.setEndpointIdentificationAlgorithm("HTTPS"); // the name must be the certificate's
            parameters.setProtocols(new String[] {version});
            tls.setSSLParameters(parameters);
            tls.startHandshake();
            byte[] certificate = tls.getSession().getPeerCertificates()[0].getEncoded();
            String request = "GET " + path + " HTTP/1.0\r\nHost: " + name + "\r\n\r\n";
            tls.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            byte[] answer = tls.getInputStream().readAllBytes();
            byte[] body = Arrays.copyOfRange(answer, bodyStart(answer), answer.length);
            System.out.printf(
                "{\"name\": \"%s\", \"fingerprint\": \"%s\", \"version\": \"%s\", \"sha256\": \"%s\"}%n",
                name, sha256(certificate), tls.getSession().getProtocol(), sha256(body));
        }
    }

    /** Returns where the body begins: behind the first empty line. */
    static int bodyStart(byte[] answer) {
        return new String(answer, StandardCharsets.ISO_8859_1).indexOf("\r\n\r\n") + 4;
    }

    static String sha256(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }
}
