import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.SNIHostName;
import java.net.Socket;
import java.util.List;

/** Sends one ClientHello: java Hello.java PORT SERVER_NAME. It trusts nothing, so the handshake ends there. */
public class Hello {
    public static void main(String[] args) throws Exception {
        Socket tcp = new Socket("127.0.0.1", Integer.parseInt(args[0]));
        SSLSocket tls = (SSLSocket) ((SSLSocketFactory) SSLSocketFactory.getDefault())
            .createSocket(tcp, args[1], tcp.getPort(), true);
        SSLParameters parameters = tls.getSSLParameters();
        parameters.setServerNames(List.of(new SNIHostName(args[1])));
        parameters.setApplicationProtocols(new String[] {"h2", "http/1.1"});
        tls.setSSLParameters(parameters);
        try {
            tls.startHandshake();
        } catch (javax.net.ssl.SSLException refused) {
            System.exit(0);
        }
    }
}
